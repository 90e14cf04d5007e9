"""`assay index build`, `assay index add`, `assay index query`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from curate.allocators import few_searches
from curate.cli_options import AUDIT_FORMATS, format_option, key_option, quiet_option, screen, write_out
from schemas.errors import ExitCode, UserError
from schemas.progress import PATIENCE_S, Progress

if TYPE_CHECKING:
    from schemas.index import IndexHeader

KINDS = ("contamination", "duplicates")
_INDEX = click.argument("index", type=click.Path(path_type=Path))
_PATHS = click.argument("paths", nargs=-1, required=True)
_KIND = click.option("--kind", type=click.Choice(KINDS), help="Refuse an index of the other kind.")
_COLUMNS = click.option("--columns", multiple=True, metavar="FIELD=COLUMN,...", help="Columns that hold our fields.")


@click.command(short_help="Index eval items, or the rows of a dataset.")
@_PATHS
@click.option("--kind", type=click.Choice(KINDS), required=True, help="What PATHS hold: eval items, or rows.")
@click.option("--out", type=click.Path(path_type=Path), required=True, help="Folder to make.")
@click.option("--keyed", is_flag=True, help="Eval items: nobody can ask the index anything without the key.")
@key_option
@click.option("--exact-only", is_flag=True, help="Rows: keep no text; near-duplicates cannot be told then.")
@_COLUMNS
@format_option("text", "json")
@quiet_option
def build(paths: tuple[str, ...], kind: str, out: Path, form: str, quiet: bool, **given: Any) -> ExitCode:
    """Index PATHS: files, globs, folders, or (of kind duplicates) a curated dataset's folder or manifest.

    An index of eval items holds hashes only. With --keyed they are keyed and the files are sealed, so that the folder
    can be published; --key-file is made if it does not exist, and must be kept elsewhere. An index of rows keeps the
    rows' texts, to verify near-duplicates, and is as private as they are. Exit code 4: there is nothing to index.
    """
    few_searches()
    from curate.indexing import build_index

    _only(kind, "contamination", {"--keyed": given["keyed"], "--key-file": given["key_file"] is not None})
    _only(kind, "duplicates", {"--exact-only": given["exact_only"]})
    with Progress(quiet=quiet, patience_s=PATIENCE_S) as progress:
        made = build_index(kind, paths, out, progress, **given)
    if made.new_key is not None and not quiet:
        click.echo(f"note: a new key was written to {made.new_key}; keep it secret, and apart from the index", err=True)
    _tell(out, made.header, form)
    return ExitCode.PASS


@click.command(short_help="Add what an index does not hold yet.")
@_INDEX
@_PATHS
@_KIND
@key_option
@_COLUMNS
@format_option("text", "json")
@quiet_option
def add(index: Path, paths: tuple[str, ...], form: str, quiet: bool, **given: Any) -> ExitCode:
    """Add the eval items or the rows of PATHS that INDEX does not hold yet.

    What is there stays as it is: a segment is written beside it, then a header that names all of them. Others may read
    the index meanwhile.
    """
    few_searches()
    from curate.indexing import add_to_index

    with Progress(quiet=quiet, patience_s=PATIENCE_S) as progress:
        header = add_to_index(index, paths, progress, **given)
    _tell(index, header, form)
    return ExitCode.PASS


@click.command(short_help="Look rows up in an index.")
@_INDEX
@_PATHS
@_KIND
@key_option
@_COLUMNS
@format_option(*AUDIT_FORMATS)
@click.option(
    "--fail-on", type=click.Choice(["error", "warning", "info", "never"]), default="warning", show_default=True,
    help="Least severity that gives exit code 1.",
)  # fmt: skip
@click.option("--max-findings", type=click.IntRange(min=0), help="Findings shown of each rule; 0 shows all.")
@click.option("--out", type=click.Path(path_type=Path), help="Write the result to a file.")
@quiet_option
def query(index: Path, paths: tuple[str, ...], kind: str | None, form: str, **flags: Any) -> ExitCode:
    """Look every row of PATHS up in INDEX: eval items that they hold, or rows that were there before.

    The rules are those of `assay audit --index`, and so is what is printed. Exit code 0: no row was found; 1: some
    were; 4: none was found, and there was no row, or a row or an eval item that cannot be read.
    """
    few_searches()
    from curate.indexing import row_files, rules_for
    from curate.outputs import render
    from curate.request import AuditRequest, run_settings, settings_of

    request = AuditRequest(
        paths=row_files(paths),
        index=(str(index),),
        select=rules_for(index, kind),
        key_file=flags["key_file"],
        columns=flags["columns"],
        fail_on=flags["fail_on"],
        max_findings=flags["max_findings"],
        out=flags["out"],
    )
    settings = settings_of(request)
    with Progress(quiet=flags["quiet"], patience_s=PATIENCE_S) as progress:
        found = run_settings(settings, progress)
    terminal = screen() if flags["out"] is None else None
    write_out(render(found, form, settings.max_findings, screen=terminal), flags["out"])
    found.raise_failure()
    unread, code = found.corpus.rows["kind"].null_count(), found.exit_code(settings.fail_on)
    if unread:
        click.echo(f"warning: {unread:,} rows cannot be read and were not looked up (see assay audit)", err=True)
    return ExitCode.INCONCLUSIVE if unread and code is ExitCode.PASS else code


def _only(kind: str, meant: str, given: dict[str, bool]) -> None:
    for flag, is_given in given.items():
        if is_given and kind != meant:
            raise UserError(
                f"{flag} is for indexes of the kind {meant}", where="the command line", found=f"kind {kind}"
            )


def _tell(folder: Path, header: IndexHeader, form: str) -> None:
    """What the index holds now."""
    told = {"index": str(folder), "kind": header.format.kind, "counts": header.counts, "bytes": header.size}
    if form == "json":
        click.echo(json.dumps(told | {"segments": len(header.segments)}))
        return
    counts = ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in header.counts.items())
    click.echo(f"{folder}: {counts}; {header.size:,} bytes in {len(header.segments)} segments")
