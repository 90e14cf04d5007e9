"""`assay gate data`."""

from __future__ import annotations

from pathlib import Path

import click

from curate.cli import progress_on_stderr
from schemas.errors import ExitCode


@click.command("data", short_help="May this dataset be trained on?")
@click.argument("config_path", metavar="[CONFIG]", required=False, type=click.Path(path_type=Path))
@click.option("--config", "-c", type=click.Path(path_type=Path), help="Config file; by default assay.yaml.")
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value of the config.")
@click.option("--dataset", type=click.Path(path_type=Path), help="Manifest of a dataset; by default this config's own.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for results; by default `runs` of the config.")
@click.option(
    "--format", "form", type=click.Choice(["text", "json", "junit", "markdown", "github"]), default="text",
    show_default=True,
)  # fmt: skip
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
def gate_data(
    config_path: Path | None,
    config: Path | None,
    overrides: tuple[str, ...],
    dataset: Path | None,
    out: Path | None,
    form: str,
    quiet: bool,
) -> ExitCode:
    """Judge a curated dataset before anything is spent on training.

    Exit code 0: pass; 1: fail; 4: the evidence does not suffice.
    """
    from curate.configfile import load_project
    from curate.gate import gate_data as run
    from curate.gate import read_verdict
    from curate.outputs.verdict import FORMATS
    from curate.pipeline import curate_stage
    from schemas.stage import require
    from schemas.verdict import EXIT_CODES

    project = load_project(config_path or config or Path("assay.yaml"), overrides, out)
    manifest = dataset or require(curate_stage(project), "curate").path
    with progress_on_stderr(quiet) as progress:
        finished = run(project, manifest, progress)
    verdict = read_verdict(finished)
    click.echo(FORMATS[form](verdict), nl=False)
    if form == "text":
        click.echo(f"verdict: {finished.path}", err=True)
    return EXIT_CODES[verdict.outcome]
