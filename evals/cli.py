"""`assay evals`, `assay gate model` and `assay bless`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.cli_options import MODEL_VERDICT_FORMATS, also_files, also_option, project_options, write_out
from schemas.errors import ExitCode

if TYPE_CHECKING:
    from curate.configfile import Project


def own_adapter(project: Project) -> Path:
    """The adapter that this config's data and training settings made."""
    from curate.pipeline import curate_stage
    from schemas.stage import require
    from train.run import data_verdict_of, train_stage

    dataset = require(curate_stage(project), "curate").path
    return require(train_stage(project, dataset, data_verdict_of(project, dataset)), "train").path


@click.command(short_help="Score base and tuned on the same items.")
@project_options()
@click.option(
    "--adapter", type=click.Path(path_type=Path), help="Manifest of an adapter; by default this config's own."
)
def evals(project: Project, form: str, quiet: bool, adapter: Path | None) -> ExitCode:
    """Score the base model, the tuned model and simple references on every suite, item by item.

    Also measures the supervised loss of both models on trained and on test rows. A run that was stopped goes on from
    its last finished part when the same command is given again. Prints the path of the results' manifest.
    """
    from evals.run import evaluate, finished_parts
    from schemas.progress import Progress

    made = adapter or own_adapter(project)
    try:
        finished = evaluate(project, made, Progress(quiet=quiet))
    except KeyboardInterrupt:
        click.echo(f"\n{finished_parts(project, made)} finished parts are kept; the same command goes on", err=True)
        raise
    result = {"manifest": str(finished.path), "reused": finished.reused, "counts": finished.manifest.counts}
    click.echo(json.dumps(result) if form == "json" else str(finished.path))
    return ExitCode.PASS


again_option = click.option(
    "--again",
    multiple=True,
    type=click.Path(path_type=Path),
    metavar="RESULTS",
    help="Another evaluation of the same models on the same items, such as with another batch size: what differs "
    "between runs widens every interval. Can be given several times.",
)


@click.command("model", short_help="Decide whether the tuned model may replace its base.")
@project_options(*MODEL_VERDICT_FORMATS)
@click.option(
    "--results", type=click.Path(path_type=Path), help="Manifest of an evaluation; by default this config's own."
)
@again_option
@also_option
def gate_model(
    project: Project, form: str, quiet: bool, results: Path | None, again: tuple[Path, ...], also: tuple[str, ...]
) -> ExitCode:
    """Judge an evaluation by the thresholds of `gates.model`; no model is loaded.

    Exit 0: pass. 1: fail. 4: inconclusive, there is not enough evidence either way, or the lock of `evals.baseline`
    does not fit what was evaluated. The verdict is kept beside the evaluation with all digests that it rests on; its
    place is printed on stderr.
    """
    from curate.outputs.verdict import FORMATS
    from evals.gate import FILES, judge_results
    from evals.run import evals_stage
    from schemas.stage import require
    from schemas.verdict import EXIT_CODES, Verdict

    others = also_files(also, MODEL_VERDICT_FORMATS)
    if results is None:
        results = require(evals_stage(project, own_adapter(project)), "evals").path
    finished = judge_results(project, results, again)
    verdict = Verdict.model_validate_json((finished.folder / "verdict.json").read_bytes())
    for shape, path in [(form, None), *others]:
        kept = shape in FILES
        write_out((finished.folder / FILES[shape]).read_text("utf-8") if kept else FORMATS[shape](verdict), path)
    if not quiet:
        click.echo(f"verdict: {finished.path}", err=True)
    return EXIT_CODES[verdict.outcome]


@click.command(short_help="Lock an evaluated model as the baseline.")
@project_options()
@click.option(
    "--results", type=click.Path(path_type=Path), help="Manifest of an evaluation; by default this config's own."
)
@again_option
@click.option("--reason", required=True, help="Why; it is committed with the lock.")
@click.option(
    "--model", type=click.Choice(("tuned", "base")), default="tuned", show_default=True, help="Whose scores are locked."
)
@click.option(
    "--answers/--no-answers",
    default=True,
    show_default=True,
    help="Whether the lock keeps the beginning of each answer, which is committed with it.",
)
@click.option("--override", is_flag=True, help="Bless what the gate did not pass; the lock says what stood against it.")
def bless(project: Project, form: str, quiet: bool, results: Path | None, **how: Any) -> ExitCode:
    """Write the baseline lock, `evals.baseline` of the config or baseline.lock.json beside it, to be committed.

    Only a model with a passing verdict of `assay gate model`, against the lock that is there, becomes the baseline. A
    person does it: in CI (variable CI) the command refuses. Prints the path of the lock.
    """
    from evals.bless import bless as write_lock
    from evals.run import evals_stage
    from schemas.stage import require

    if results is None:
        results = require(evals_stage(project, own_adapter(project)), "evals").path
    blessed = write_lock(project, results, **how)
    lock = blessed.lock
    about = {"lock": str(blessed.path), "digest": lock.digest, "looks": len(lock.looks), "notes": blessed.notes}
    click.echo(json.dumps(about) if form == "json" else str(blessed.path))
    if not quiet:
        for note in blessed.notes:
            click.echo(f"note: {note}", err=True)
        if lock.blessing.override:
            click.echo(f"note: overridden: {lock.blessing.override}", err=True)
        if project.config.evals.baseline is None:
            click.echo(f"set `evals.baseline: {blessed.path.name}` in {project.path}, and commit both", err=True)
    return ExitCode.PASS
