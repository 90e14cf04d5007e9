"""`assay diff`."""

from __future__ import annotations

from pathlib import Path

import click

from curate.cli_options import format_option
from schemas.errors import ExitCode


@click.command(short_help="Say what changed between two datasets or two audits.")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@format_option("text", "json", "markdown")
@click.option(
    "--max-rows", type=click.IntRange(min=0), default=10, show_default=True,
    help="Rows or findings shown of each kind of change; 0 shows all. JSON always holds all.",
)  # fmt: skip
def diff(a: Path, b: Path, form: str, max_rows: int) -> ExitCode:
    """Compare two curated datasets (folders or manifests), or two files that `assay audit --format json` wrote.

    Rows are matched by content, findings by fingerprint; order and place make no difference. One of A and B may be -
    for an audit on standard input. Exit code 0: no difference; 1: there are differences; 2: they cannot be compared.
    """
    from curate.diff import diff_paths
    from curate.outputs.diff import FORMATS

    found = diff_paths(a, b)
    click.echo(FORMATS[form](found, max_rows), nl=False)
    return ExitCode.PASS if found.equal else ExitCode.FAIL
