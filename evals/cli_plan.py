"""`assay plan`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from curate.cli_options import project_options
from schemas.errors import ExitCode

if TYPE_CHECKING:
    from curate.configfile import Project


@click.command(short_help="Say what a run takes and can show, before it is started.")
@project_options()
@click.option("--dataset", type=click.Path(path_type=Path), help="Manifest of a dataset; by default this config's own.")
@click.option("--no-calibrate", is_flag=True, help="Time no steps: in seconds, and without time and cost.")
def plan(project: Project, form: str, quiet: bool, dataset: Path | None, no_calibrate: bool) -> ExitCode:
    """Say what training and evaluating a curated dataset takes and can show, before anything is spent.

    Rows and tokens, parameters, memory by part and the batch that fits this machine, time and cost from a few real
    optimiser steps, the effect that the configured evals can detect, and what is finished already. Nothing is written.

    Exit 0: nothing stands against the run. 1: it cannot succeed as it is: its batch does not fit, or the data gate
    failed. 4: the items cannot show what the gate asks for, or something cannot be decided.
    """
    from curate.pipeline import curate_stage
    from evals.plan import plan_run
    from evals.plan_text import as_json, as_text
    from schemas.progress import PATIENCE_S, Progress
    from schemas.stage import require
    from schemas.verdict import EXIT_CODES

    manifest = dataset or require(curate_stage(project), "curate").path
    with Progress(quiet=quiet, patience_s=PATIENCE_S) as progress:
        made = plan_run(project, manifest, calibrated=not no_calibrate, progress=progress)
    click.echo(as_json(made) if form == "json" else as_text(made), nl=False)
    return EXIT_CODES[made.outcome]
