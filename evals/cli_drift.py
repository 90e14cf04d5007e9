"""`assay drift`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from curate.cli_options import (
    DEFAULT_CONFIG,
    also_files,
    also_option,
    chosen_project,
    optional_project_options,
    write_out,
)
from schemas.errors import ExitCode, UserError

if TYPE_CHECKING:
    from curate.configfile import Project
    from evals.drift.run import Request

FORMATS = ("text", "json", "markdown", "html")


@click.command(short_help="Say whether new rows still look like the training data.")
@click.argument("new", metavar="NEW_ROWS...", nargs=-1, required=True)
@click.option(
    "--run", required=True, type=click.Path(path_type=Path), help="Result of curate, train, evals, gate or release."
)
@click.option("--score", is_flag=True, help="Ask RUN's model the labelled new rows as well; this costs passes.")
@optional_project_options(*FORMATS)
@also_option
def drift(  # noqa: PLR0913, PLR0917 - each option is one that a person sets
    new: tuple[str, ...],
    run: Path,
    score: bool,
    config: Path | None,
    overrides: tuple[str, ...],
    out: Path | None,
    form: str,
    quiet: bool,
    also: tuple[str, ...],
) -> ExitCode:
    """Compare NEW_ROWS with the rows of the dataset behind RUN, and say whether it is time to train again.

    NEW_ROWS are files, globs or folders, read as `assay audit` reads them and treated by the dataset's own steps. A
    classifier, topics, vocabulary, lengths and labels are compared, and with --score how well the model answers. The
    config is optional: its section `drift` sets bounds and level, and --score needs it.

    Exit 0: fine, differences that would matter are ruled out. 1: retrain, they are there, and the rows that matter most
    are listed. 4: inconclusive, with how many more rows would decide.
    """
    from evals.drift.pages import FILES
    from evals.drift.run import drift as compare
    from schemas.drift import Drift
    from schemas.progress import Progress
    from schemas.verdict import EXIT_CODES

    others = also_files(also, FORMATS)
    project = _project(config, overrides, out, needed=score)
    request = _request(new, run, project, out, score=score)
    with Progress(quiet=quiet) as progress:
        made = compare(request, progress)
    found = Drift.model_validate_json((made.folder / FILES["json"]).read_bytes())
    for shape, path in [(form, None), *others]:
        write_out((made.folder / FILES[shape]).read_text("utf-8"), path)
    if not quiet:
        if made.reused:
            click.echo("this was compared before, with the same code and settings; it is unchanged", err=True)
        click.echo(f"rows: {made.folder / 'rows.jsonl'}", err=True)
        click.echo(str(made.path), err=True)
    return EXIT_CODES[found.outcome]


def _project(config: Path | None, overrides: tuple[str, ...], out: Path | None, *, needed: bool) -> Project | None:
    """The config that is named, or lies here; without any, defaults hold."""
    if config is None and not needed and not DEFAULT_CONFIG.is_file():
        if overrides:
            raise UserError(
                "--set changes a config, and there is none",
                where="the command line",
                found=f"no --config, and no {DEFAULT_CONFIG} here",
            )
        return None
    return chosen_project(None, config, overrides, out)


def _request(new: tuple[str, ...], run: Path, project: Project | None, out: Path | None, *, score: bool) -> Request:
    from curate.sources import expand_paths
    from evals.drift.run import Request
    from evals.drift.score import model_of
    from schemas.drift_config import DriftConfig
    from schemas.manifest import manifest_path

    result = manifest_path(run).resolve().parent
    runs = out or (project.runs if project else result.parent.parent)
    return Request(
        new=expand_paths(new, Path(), "the command line", results=runs, start=""),
        run=run,
        config=project.config.drift if project else DriftConfig(),
        root=project.root if project else Path(),
        runs=runs,
        model=model_of(run, project) if score and project else None,
    )
