"""`assay train`."""

from __future__ import annotations

import json
from pathlib import Path

import click

from schemas.errors import ExitCode


@click.command(short_help="Train a LoRA adapter on a curated dataset.")
@click.option("--config", "-c", type=click.Path(path_type=Path), default=Path("assay.yaml"), show_default=True)
@click.option("--set", "overrides", multiple=True, metavar="KEY=VALUE", help="Override a value of the config.")
@click.option("--dataset", type=click.Path(path_type=Path), help="Manifest of a dataset; by default this config's own.")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for results; by default `runs` of the config.")
@click.option("--allow-ungated", is_flag=True, help="Train although the data gate did not pass; the manifest says so.")
@click.option("--format", "form", type=click.Choice(["text", "json"]), default="text", show_default=True)
@click.option("--quiet", "-q", is_flag=True, help="No progress.")
def train(
    config: Path,
    overrides: tuple[str, ...],
    dataset: Path | None,
    out: Path | None,
    allow_ungated: bool,
    form: str,
    quiet: bool,
) -> ExitCode:
    """Train a LoRA adapter on the train split of a curated dataset.

    Only the assistant's turns carry loss. The dataset must hash to its manifest and must have passed `assay gate data`.
    A run that was stopped goes on from its last checkpoint when the same command is given again. Prints the path of the
    adapter's manifest.
    """
    from curate.configfile import load_project
    from curate.pipeline import curate_stage
    from schemas.stage import require
    from train.monitor import choose_view
    from train.run import train as run_training

    project = load_project(config, overrides, out)
    manifest = dataset or require(curate_stage(project), "curate").path
    finished = run_training(project, manifest, choose_view(quiet), allow_ungated=allow_ungated)
    result = {"manifest": str(finished.path), "reused": finished.reused, "counts": finished.manifest.counts}
    if finished.reused and not quiet:
        click.echo("this adapter was trained before, with the same config, data and code; it is unchanged", err=True)
    click.echo(json.dumps(result) if form == "json" else str(finished.path))
    return ExitCode.PASS
