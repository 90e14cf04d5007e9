"""`assay train`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import click

from curate.cli_options import project_options
from schemas.errors import ExitCode

if TYPE_CHECKING:
    from curate.configfile import Project


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
    from train.run import train as run_training

    manifest = dataset or require(curate_stage(project), "curate").path
    finished = run_training(project, manifest, choose_view(quiet), allow_ungated=allow_ungated)
    result = {"manifest": str(finished.path), "reused": finished.reused, "counts": finished.manifest.counts}
    if finished.reused and not quiet:
        click.echo("this adapter was trained before, with the same config, data and code; it is unchanged", err=True)
    for note in () if quiet else finished.manifest.provenance.notes:
        click.echo(note, err=True)
    click.echo(json.dumps(result) if form == "json" else str(finished.path))
    return ExitCode.PASS
