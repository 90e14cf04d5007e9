"""Commands about evidence that exists already: show, verify, report, doctor, import."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from curate.cli_options import chosen_project, format_option, optional_project_options
from schemas.errors import ExitCode, UserError

if TYPE_CHECKING:
    from curate.configfile import Project
    from schemas.stage import Finished

RUN = click.argument("run", type=click.Path(path_type=Path))
FORMAT = format_option("text", "json")
CONFIG_SUFFIXES = (".yaml", ".yml")


@click.command()
@RUN
@FORMAT
def show(run: Path, form: str) -> int:
    """Print the chain of evidence behind RUN, a result's folder or its manifest.json.

    Every stage with its counts, verdict and notes, down to the raw rows and the base model. Files are not hashed.
    """
    from evals.chain import read_chain
    from evals.chain_text import chain_json, chain_text

    chain = read_chain(run)
    if chain.error:
        raise chain.error
    click.echo(chain_text(chain) if form == "text" else chain_json(chain))
    return ExitCode.PASS


@click.command()
@RUN
@FORMAT
@click.option(
    "--public-key", type=click.Path(path_type=Path), metavar="KEY", help="Key (PEM) that must have signed the release."
)
def verify(run: Path, form: str, public_key: Path | None) -> int:
    """Re-hash everything behind RUN, a result's folder or its manifest.json, or an index, and name every difference.

    Raw rows, datasets, adapters, results and the base model are compared with what each stage recorded; fingerprints
    are computed again; ledgers, split proofs, verdicts and releases are checked again. Exit 0: unchanged. 1: something
    changed, or the signature is not that of the key. 2: RUN cannot be opened.
    """
    from evals.chain import read_chain, read_index_node, verify_chain
    from evals.chain_text import verification_json, verification_text
    from evals.release.signed import check_signature
    from schemas.index import is_index

    verification = verify_chain(read_index_node(run) if is_index(run) else read_chain(run))
    check_signature(verification, public_key)
    click.echo(verification_text(verification) if form == "text" else verification_json(verification))
    return ExitCode.FAIL if verification.differences else ExitCode.PASS


@click.command()
@click.argument("given", metavar="[CONFIG|VERDICT]", required=False, type=click.Path(path_type=Path))
@optional_project_options()
def report(
    given: Path | None, config: Path | None, overrides: tuple[str, ...], out: Path | None, form: str, quiet: bool
) -> int:
    """Write what a model gate's verdict rests on as report.md and one self-contained report.html.

    VERDICT is the gate's manifest or folder; by default it is the one of the config. The whole chain is re-hashed
    first. Prints the path of the page. Exit 0 whatever the verdict is: the gate has said it already.
    """
    verdict = None if given is None or given.suffix in CONFIG_SUFFIXES else given
    if verdict is None:
        verdict = verdict_of(chosen_project(given, config, overrides, out))
    elif config is not None or overrides or out is not None:
        raise UserError(
            "a verdict is named, and options that would look for another one",
            where="the command line",
            found=f"{verdict} with --config, --set or --out",
            expected="a verdict alone, or a config; the report of a verdict is written beside it",
        )
    from evals.report import write_report

    finished = write_report(verdict)
    if finished.reused and not quiet:
        click.echo("this report was written before, from the same verdict; it is unchanged", err=True)
    page = finished.folder / "report.html"
    if form == "text":
        click.echo(str(page))
    else:
        import json

        click.echo(json.dumps({"manifest": str(finished.path), "page": str(page), "reused": finished.reused}))
    return ExitCode.PASS


def verdict_of(project: Project) -> Path:
    """The verdict of the model gate that this config's data, training and evaluation led to."""
    from curate.pipeline import curate_stage
    from evals.gate import model_gate_stage
    from evals.run import evals_stage
    from schemas.stage import require
    from train.run import data_verdict_of, train_stage

    dataset = require(curate_stage(project), "curate").path
    adapter = require(train_stage(project, dataset, data_verdict_of(project, dataset)), "train").path
    results = require(evals_stage(project, adapter), "evals").path
    return require(model_gate_stage(project, results), "gate model").path


@click.command()
@click.option("--network", is_flag=True, help="Ask the model hub whether it answers; otherwise nothing is asked.")
@FORMAT
def doctor(network: bool, form: str) -> int:
    """Say what this machine has (cores, memory, accelerator, disk, versions, base model) and what that allows."""
    from evals.doctor import as_json, as_text, examine

    found = examine(network)
    click.echo(as_text(found) if form == "text" else as_json(found))
    return ExitCode.PASS


@click.group("import")
def import_() -> None:
    """Wrap what was made elsewhere in a manifest, marked unverified, so that the gates can judge it."""


OUT = click.option(
    "--out", type=click.Path(path_type=Path), default=Path("runs"), show_default=True, help="Folder for results."
)
NAME = click.option("--name", help="Begins the result's folder name; by default the name of what is imported.")


@import_.command("dataset")
@click.argument("paths", nargs=-1, type=click.Path(path_type=Path))
@click.option("--train", multiple=True, type=click.Path(path_type=Path), help="File or folder of the training split.")
@click.option("--validation", multiple=True, type=click.Path(path_type=Path), help="As above, for validation.")
@click.option("--test", multiple=True, type=click.Path(path_type=Path), help="As above, for the split that is judged.")
@NAME
@OUT
@FORMAT
def import_dataset(paths: tuple[Path, ...], name: str | None, out: Path, form: str, **named: tuple[Path, ...]) -> int:
    """Wrap rows that are split already. PATHS are files or folders whose names tell the split, such as test.jsonl.

    Every readable row stays in its split; the split proof counts similar rows across them. Prints the manifest's path.
    """
    from evals.imports import files_by_split
    from evals.imports import import_dataset as wrap

    files = files_by_split(paths, named)
    finished = wrap(files, out, _name(name, paths[0] if paths else files["train"][0]))
    _print_result(finished, form)
    return ExitCode.PASS


@import_.command("adapter")
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--dataset", required=True, type=click.Path(path_type=Path), help="Manifest of what it was trained on.")
@click.option("--base-model", help="Bundled name, folder or hub id; by default the one that the adapter names.")
@NAME
@OUT
@FORMAT
def import_adapter(folder: Path, dataset: Path, base_model: str | None, name: str | None, out: Path, form: str) -> int:
    """Wrap a LoRA adapter in FOLDER, as peft saves it. Prints the manifest's path, which `assay evals --adapter` takes.

    The dataset may be imported too; without its rows nobody can compare what was trained with what was not.
    """
    from evals.imports import import_adapter as wrap

    _print_result(wrap(folder, dataset, base_model, out, _name(name, folder)), form)
    return ExitCode.PASS


def _name(given: str | None, path: Path) -> str:
    """A name for a run folder: what was given, or the path's own in lower case without strange characters."""
    import re

    name = given or re.sub(r"[^a-z0-9._-]+", "-", path.absolute().name.split(".")[0].lower()).strip("-._")[:40]
    if not re.fullmatch(r"[a-z0-9][a-z0-9._-]{0,62}", name):
        raise click.BadParameter(
            f"{name!r} cannot begin a folder's name; take lower-case letters, digits, dots and dashes",
            param_hint="--name",
        )
    return name


def _print_result(finished: Finished, form: str) -> None:
    import json

    result = {"manifest": str(finished.path), "reused": finished.reused, "counts": finished.manifest.counts}
    click.echo(json.dumps(result) if form == "json" else str(finished.path))
    for note in finished.manifest.provenance.notes:
        click.echo(note, err=True)
