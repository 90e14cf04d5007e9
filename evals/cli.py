"""`assay evals` and `assay gate model`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from schemas.errors import ExitCode

if TYPE_CHECKING:
    from curate.configfile import Project

CONFIG_ARGUMENT = click.argument("config_path", metavar="[CONFIG]", required=False, type=click.Path(path_type=Path))
CONFIG = click.option("--config", "-c", type=click.Path(path_type=Path), help="Config file; by default assay.yaml.")
SET = click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value of the config.")
OUT = click.option(
    "--out", type=click.Path(path_type=Path), help="Folder for results; by default `runs` of the config."
)


def _adapter(project: Project) -> Path:
    """The adapter that this config's data and training settings made."""
    from curate.pipeline import curate_stage
    from schemas.stage import require
    from train.run import find_data_verdict, train_stage

    dataset = require(curate_stage(project), "curate").path
    return require(train_stage(project, dataset, find_data_verdict(project.runs, dataset)), "train").path


@click.command(short_help="Score base and tuned on the same items.")
@CONFIG_ARGUMENT
@CONFIG
@SET
@click.option(
    "--adapter", type=click.Path(path_type=Path), help="Manifest of an adapter; by default this config's own."
)
@OUT
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
def evals(
    config_path: Path | None,
    config: Path | None,
    overrides: tuple[str, ...],
    adapter: Path | None,
    out: Path | None,
    form: str,
    quiet: bool,
) -> ExitCode:
    """Score the base model, the tuned model and simple references on every suite, item by item.

    Also measures the supervised loss of both models on trained and on test rows. A run that was stopped goes on from
    its last finished part when the same command is given again. Prints the path of the results' manifest.
    """
    from curate.configfile import load_project
    from evals.progress import Progress
    from evals.run import evaluate, finished_parts

    project = load_project(config_path or config or Path("assay.yaml"), overrides, out)
    made = adapter or _adapter(project)
    try:
        finished = evaluate(project, made, Progress(quiet=quiet))
    except KeyboardInterrupt:
        click.echo(f"\n{finished_parts(project, made)} finished parts are kept; the same command goes on", err=True)
        raise
    result = {"manifest": str(finished.path), "reused": finished.reused, "counts": finished.manifest.counts}
    click.echo(json.dumps(result) if form == "json" else str(finished.path))
    return ExitCode.PASS


@click.command("model", short_help="Decide whether the tuned model may replace its base.")
@CONFIG_ARGUMENT
@CONFIG
@SET
@click.option(
    "--results", type=click.Path(path_type=Path), help="Manifest of an evaluation; by default this config's own."
)
@OUT
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "json", "markdown", "junit", "github"]),
    default="text",
    show_default=True,
)
def gate_model(
    config_path: Path | None,
    config: Path | None,
    overrides: tuple[str, ...],
    results: Path | None,
    out: Path | None,
    form: str,
) -> ExitCode:
    """Judge an evaluation by the thresholds of `gates.model`; no model is loaded.

    Exit 0: pass. 1: fail. 4: inconclusive, there is not enough evidence either way. The verdict is kept beside the
    evaluation with all digests that it rests on; its place is printed on stderr.
    """
    from curate.configfile import load_project
    from curate.outputs.verdict import FORMATS
    from evals.gate import judge_results
    from evals.run import evals_stage
    from schemas.stage import require
    from schemas.verdict import EXIT_CODES, Verdict

    project = load_project(config_path or config or Path("assay.yaml"), overrides, out)
    if results is None:
        results = require(evals_stage(project, _adapter(project)), "evals").path
    finished = judge_results(project, results)
    verdict = Verdict.model_validate_json((finished.folder / "verdict.json").read_bytes())
    click.echo(FORMATS[form](verdict), nl=False)
    click.echo(f"verdict: {finished.path}", err=True)
    return EXIT_CODES[verdict.outcome]
