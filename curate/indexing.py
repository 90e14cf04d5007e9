"""Making persisted indexes of files, and adding to them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from curate.contamination.index import Key
from curate.contamination.items import eval_items
from curate.contamination.store import KEY_VARIABLE, add_evals, build_evals, make_key, read_key
from curate.contamination.tasks import eval_sources
from curate.earlier import index_rows
from curate.indexes import dataset_files
from curate.readers import read_corpus
from curate.request import DEFAULT_RUNS, column_map
from curate.row_store import add_rows, build_rows
from curate.rows import Corpus
from curate.rules import all_rules
from curate.rules.base import Need
from curate.sources import expand_paths
from schemas.errors import UserError
from schemas.index import IndexHeader, check_kind, read_header
from schemas.progress import Progress


@dataclass(frozen=True)
class Built:
    """A new index, and the key that was drawn for it."""

    header: IndexHeader
    new_key: Path | None = None
    """The file that was made for the key; null where there was one already, or none is needed."""


def build_index(
    kind: str,
    paths: Sequence[str],
    out: Path,
    progress: Progress,
    *,
    columns: Sequence[str] = (),
    keyed: bool = False,
    key_file: Path | None = None,
    exact_only: bool = False,
) -> Built:
    """Index files.

    Args:
        kind: contamination or duplicates.
        paths: files, globs, folders, curated datasets.
        out: folder to make.
        progress: shows how far it is.
        columns: `field=column`.
        keyed: eval items under a key.
        key_file: of the key; made if it does not exist.
        exact_only: rows without their texts.

    Raises:
        UserError: a file or the key cannot be opened, or the folder exists.
        NoItems, NothingToIndex: there is nothing to index.
    """
    if kind == "duplicates":
        return Built(build_rows(out, index_rows(_read(paths, columns, progress)), exact_only))
    items = eval_items(_read_evals(paths, columns, progress))
    if key_file is not None and not keyed:
        raise UserError("a key is given, and --keyed is not", where="the command line", help="add --keyed")
    key, new_key = _key(key_file, out) if keyed else (None, None)
    try:
        return Built(build_evals(out, items, key), new_key)
    except BaseException:
        if new_key is not None:
            new_key.unlink()
        raise


def add_to_index(
    index: Path,
    paths: Sequence[str],
    progress: Progress,
    *,
    kind: str | None = None,
    columns: Sequence[str] = (),
    key_file: Path | None = None,
) -> IndexHeader:
    """Add what files hold to an index; arguments as for `build_index`.

    Raises:
        UserError: there is no such index, it is of another kind, damaged, or needs its key.
    """
    if kind_of(index, kind) == "duplicates":
        return add_rows(index, index_rows(_read(paths, columns, progress)))
    return add_evals(index, eval_items(_read_evals(paths, columns, progress)), read_key(key_file))


def kind_of(index: Path, wanted: str | None) -> str:
    """The kind of an index.

    Raises:
        UserError: there is none, or it is not of the kind that is wanted.
    """
    header = read_header(index)
    if wanted is not None:
        check_kind(header, wanted, index)
    return header.format.kind


def rules_for(index: Path, wanted: str | None) -> tuple[str, ...]:
    """Codes of the rules that look rows up in an index; arguments as for `kind_of`."""
    need = Need.INDEX if kind_of(index, wanted) == "duplicates" else Need.EVALS
    return tuple(rule.code for rule in all_rules() if rule.needs is need)


def row_files(words: Sequence[str]) -> tuple[str, ...]:
    """What a command line names, a curated dataset as the files of its rows."""
    named: list[str] = []
    for word in words:
        files = dataset_files(Path(word))
        named += [word] if files is None else map(str, files)
    return tuple(named)


def _read(paths: Sequence[str], columns: Sequence[str], progress: Progress) -> Corpus:
    return _read_files(_files(paths), columns, progress)


def _read_evals(paths: Sequence[str], columns: Sequence[str], progress: Progress) -> Corpus:
    """Eval items; task files stand for the items that they name."""
    files = eval_sources(_files(paths))
    read = _read_files(files, columns, progress)
    tasks = zip(read.sources, files.values(), strict=True)
    return replace(read, tasks={source.path: task for source, task in tasks if task is not None})


def _files(paths: Sequence[str]) -> tuple[Path, ...]:
    return expand_paths(row_files(paths), Path(), "the command line", results=DEFAULT_RUNS, start="")


def _read_files(files: Iterable[Path], columns: Sequence[str], progress: Progress) -> Corpus:
    progress.begin("reading")
    read = read_corpus(tuple(files), columns=column_map(columns))
    progress.begin("indexing")
    return read


def _key(path: Path | None, out: Path) -> tuple[Key, Path | None]:
    """The key to build with, and the file that was made for it."""
    if path is not None and path.absolute().is_relative_to(out.absolute()):
        raise UserError(
            "the key would lie in the index", where=str(path), help="keep it where nobody publishes it with the index"
        )
    if path is not None and not path.exists():
        return make_key(path), path
    key = read_key(path)
    if key is None:
        raise UserError(
            "a keyed index needs a key",
            where="the command line",
            help=f"name a file with --key-file, which is made if it does not exist, or set {KEY_VARIABLE}",
        )
    return key, None
