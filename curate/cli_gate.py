"""`assay gate data`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from curate.cli_options import VERDICT_FORMATS, project_options
from schemas.errors import ExitCode
from schemas.progress import PATIENCE_S, Progress

if TYPE_CHECKING:
    from curate.configfile import Project


@click.command("data", short_help="May this dataset be trained on?")
@project_options(*VERDICT_FORMATS)
@click.option("--dataset", type=click.Path(path_type=Path), help="Manifest of a dataset; by default this config's own.")
def gate_data(project: Project, form: str, quiet: bool, dataset: Path | None) -> ExitCode:
    """Judge a curated dataset before anything is spent on training.

    Exit code 0: pass; 1: fail; 4: the evidence does not suffice.
    """
    from curate.gate import gate_data as run
    from curate.gate import read_verdict
    from curate.outputs.verdict import FORMATS
    from curate.pipeline import curate_stage
    from schemas.stage import require
    from schemas.verdict import EXIT_CODES

    manifest = dataset or require(curate_stage(project), "curate").path
    with Progress(quiet=quiet, patience_s=PATIENCE_S) as progress:
        finished = run(project, manifest, progress)
    verdict = read_verdict(finished)
    click.echo(FORMATS[form](verdict), nl=False)
    if not quiet:
        click.echo(f"verdict: {finished.path}", err=True)
    return EXIT_CODES[verdict.outcome]
