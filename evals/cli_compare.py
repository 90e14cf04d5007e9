"""`assay compare`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from curate.cli_options import chosen_project, optional_project_options
from evals.cli import own_adapter
from schemas.errors import ExitCode

if TYPE_CHECKING:
    from schemas.stage import Finished

FORMATS = {"text": "compare.txt", "json": "compare.json", "markdown": "compare.md", "html": "compare.html"}
CONFIG_SUFFIXES = (".yaml", ".yml")


@click.command(short_help="Measure prompt, few-shot, retrieval and fine-tuning on the same items.")
@click.argument("given", metavar="[CONFIG|ADAPTER]", required=False, type=click.Path(path_type=Path))
@optional_project_options(*FORMATS)
def compare(
    given: Path | None, config: Path | None, overrides: tuple[str, ...], out: Path | None, form: str, quiet: bool
) -> ExitCode:
    """Ask every way of doing the task the same held-out items, and say which one serves it, by intervals and cost.

    ADAPTER is the manifest or folder of a training; by default the one of the config. The ways (arms) are a classical
    classifier, a prompt alone, few-shot examples, retrieval, the fine-tuned model, and others that the section
    `compare` names. All get the same items, the same greedy decoding and the same end of answers. A run that was
    stopped asks nothing again that was answered.

    Exit 0: the evidence names an arm, fine-tuned or not. 4: inconclusive, with the number of items that would decide;
    or an arm failed that could have been the best.
    """
    from evals.comparing.run import compare as run
    from schemas.compare import Compared
    from schemas.progress import Progress
    from schemas.verdict import EXIT_CODES

    is_config = given is not None and given.suffix in CONFIG_SUFFIXES
    project = chosen_project(given if is_config else None, config, overrides, out)
    adapter = own_adapter(project) if given is None or is_config else given
    try:
        with Progress(quiet=quiet) as progress:
            made = run(project, adapter, progress)
    except KeyboardInterrupt:
        click.echo("\nwhat was answered so far is kept; the same command goes on", err=True)
        raise
    judged = Compared.model_validate_json((made.folder / FORMATS["json"]).read_bytes())
    click.echo((made.folder / FORMATS[form]).read_text(encoding="utf-8"), nl=False)
    if not quiet:
        _tell(made)
    return EXIT_CODES[judged.outcome]


def _tell(made: Finished) -> None:
    if made.reused:
        click.echo("this comparison was made before, with the same code and settings; it is unchanged", err=True)
    if made.manifest.counts["failed_arms"]:
        click.echo(
            f"to ask the arms that failed again, delete {made.folder}; what the others answered is kept", err=True
        )
    click.echo(str(made.path), err=True)
