"""`assay init`."""

from __future__ import annotations

from pathlib import Path

import click

from schemas.errors import ExitCode


@click.command(short_help="Write a config for your file, and a CI workflow.")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--config",
    "-c",
    type=click.Path(path_type=Path),
    default=Path("assay.yaml"),
    show_default=True,
    help="To be written.",
)
@click.option("--force", is_flag=True, help="Overwrite what is there.")
def init(file: Path, config: Path, force: bool) -> ExitCode:
    """Look at FILE and write a commented config that runs on it, a task for its test split, and a CI workflow.

    What must be decided by a person is marked EDIT in the config. Prints the paths of what was written.
    """
    from curate.starter import look_at, starter_files, write_starter

    files = starter_files(file, config, look_at(file))
    write_starter(files, force)
    for path in files:
        click.echo(str(path))
    click.echo(
        f"look for EDIT in {config}; `assay audit --config {config}` says what is wrong with the rows, and with "
        f"--write-baseline accepts it; `assay curate --config {config}` makes the dataset",
        err=True,
    )
    return ExitCode.PASS
