"""`assay preview`, `assay train`, `assay sweep`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.cli_options import project_options, screen
from schemas.errors import ExitCode, UserError
from schemas.terminal import printable

if TYPE_CHECKING:
    from curate.configfile import Project
    from train.preview import Preview


SPLITS = ("train", "validation", "test")
FILTERS = ("truncated", "refused", "no-end-of-turn")


@click.command(short_help="Show rows as tokens, what carries loss coloured.")
@project_options("text", "json", "html")
@click.option("--dataset", type=click.Path(path_type=Path), help="Manifest of a dataset; by default this config's own.")
@click.option("--split", type=click.Choice(SPLITS), help="Split that is shown; by default train.")
@click.option(
    "--source", type=click.Path(path_type=Path), metavar="FILE",
    help="Show the rows of a file as they are, before `assay curate`.",
)  # fmt: skip
@click.option(
    "--rows", type=click.IntRange(min=0), default=5, show_default=True, help="Rows shown; 0: the ledger alone."
)
@click.option("--row", "row_ids", multiple=True, metavar="ROW_ID", help="Show this row; the id's beginning is enough.")
@click.option("--only", type=click.Choice(FILTERS), help="Only such rows; the ledger still counts all.")
@click.option(
    "--max-tokens", type=click.IntRange(min=0),
    help="Tokens shown of each sequence, by default 400; 0 shows all. JSON always holds all.",
)  # fmt: skip
def preview(project: Project, form: str, quiet: bool, dataset: Path | None, **asked: Any) -> ExitCode:
    """Show rows of a dataset token by token, as training receives them, and count all of them.

    What carries loss is coloured, or stands between brackets where there are no colours; special tokens, line breaks
    and cuts are made visible. No weights are needed. Rows that cannot be trained are shown with the reason.
    `--format html > preview.html` writes a page.
    """
    from curate.pipeline import curate_stage
    from schemas.progress import PATIENCE_S, Progress
    from schemas.stage import require
    from train.preview import Wanted, preview_dataset, preview_file

    source, split = asked["source"], asked["split"]
    if source is not None and (dataset is not None or split is not None):
        raise UserError(
            "a file and a dataset are named",
            where="the command line",
            found=f"--source {source} and {'--dataset' if dataset is not None else '--split'}",
            expected="one of them; the rows of a file have no split yet",
        )
    wanted = Wanted(asked["rows"], asked["row_ids"], asked["only"])
    with Progress(quiet=quiet, patience_s=PATIENCE_S) as progress:
        if source is not None:
            found = preview_file(project, source, wanted, progress)
        else:
            manifest = dataset or require(curate_stage(project), "curate").path
            found = preview_dataset(project, manifest, split or SPLITS[0], wanted, progress)
    click.echo(_rendered(found, form, asked["max_tokens"]), nl=False)
    return ExitCode.PASS


def _rendered(found: Preview, form: str, max_tokens: int | None) -> str:
    from train import preview_page, preview_record, preview_text

    if form == "json":
        return preview_record.render(found)
    return (
        preview_page.render(found, max_tokens) if form == "html" else preview_text.render(found, max_tokens, screen())
    )


@click.command(short_help="Train a LoRA adapter on a curated dataset.")
@project_options()
@click.option("--dataset", type=click.Path(path_type=Path), help="Manifest of a dataset; by default this config's own.")
@click.option("--allow-ungated", is_flag=True, help="Train although the data gate did not pass; the manifest says so.")
def train(project: Project, form: str, quiet: bool, dataset: Path | None, allow_ungated: bool) -> ExitCode:
    """Train a LoRA adapter on the train split of a curated dataset.

    Only the assistant's turns carry loss. The dataset must hash to its manifest and must have passed `assay gate data`.
    A run that was stopped goes on from its last checkpoint when the same command is given again. Prints the path of the
    adapter's manifest.
    """
    from curate.pipeline import curate_stage
    from schemas.stage import require
    from train.monitor import choose_view
    from train.processes import is_main_process
    from train.run import assist
    from train.run import train as run_training

    manifest = dataset or require(curate_stage(project), "curate").path
    if not is_main_process():
        assist(project, manifest, allow_ungated=allow_ungated)
        return ExitCode.PASS
    finished = run_training(project, manifest, choose_view(quiet), allow_ungated=allow_ungated)
    result = {"manifest": str(finished.path), "reused": finished.reused, "counts": finished.manifest.counts}
    if finished.reused and not quiet:
        click.echo("this adapter was trained before, with the same config, data and code; it is unchanged", err=True)
    for note in () if quiet else finished.manifest.provenance.notes:
        click.echo(note, err=True)
    click.echo(json.dumps(result) if form == "json" else str(finished.path))
    return ExitCode.PASS


@click.command(short_help="Search settings, and choose by the validation split.")
@project_options()
@click.option("--dataset", type=click.Path(path_type=Path), help="Manifest of a dataset; by default this config's own.")
@click.option("--allow-ungated", is_flag=True, help="Train although the data gate did not pass; the manifest says so.")
def sweep(project: Project, form: str, quiet: bool, dataset: Path | None, allow_ungated: bool) -> ExitCode:
    """Train at several settings and choose the best that the overfitting watch passes.

    `sweep.space` says what is varied; the first trial is `train` as it stands, the others are suggested by Optuna. Each
    is an ordinary `assay train`, so none is trained twice, and a sweep that was stopped goes on when the same command
    is given again. The winner has the least loss on the validation split; the test split is not read. Prints all
    trials, the winner, what choosing did to its figures, and the command that trains it. Exit 4: no trial passed.
    """
    from curate.pipeline import curate_stage
    from schemas.stage import require
    from schemas.sweep_results import SweepResults
    from train import sweep_text
    from train.monitor import choose_view
    from train.sweep import RESULTS
    from train.sweep import sweep as run_sweep

    manifest = dataset or require(curate_stage(project), "curate").path
    finished = run_sweep(project, manifest, lambda: choose_view(quiet), allow_ungated=allow_ungated)
    results = SweepResults.model_validate_json((finished.folder / RESULTS).read_bytes())
    for note in () if quiet else finished.manifest.provenance.notes:
        click.echo(note, err=True)
    if form == "json":
        found = {"manifest": str(finished.path), "reused": finished.reused}
        click.echo(json.dumps(found | results.model_dump(mode="json", by_alias=True)))
    else:
        words = ["--config", str(project.path)]
        given = click.get_current_context().params["overrides"]
        words += [word for one in given if not one.startswith("sweep.") for word in ("--set", one)]
        words += ["--dataset", str(dataset)] if dataset is not None else []
        words += ["--allow-ungated"] if allow_ungated else []
        words += ["--out", str(project.out)] if project.out is not None else []
        for line in (*sweep_text.render(results, words), "", str(finished.path)):
            click.echo(printable(line))
    return ExitCode.PASS if results.winner is not None else ExitCode.INCONCLUSIVE
