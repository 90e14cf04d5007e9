"""Persisted indexes as commands use them: named by a folder or a curated dataset, opened once, put beside the rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from curate.readers import read_corpus
from curate.rows import Corpus
from schemas.base import file_digest
from schemas.errors import UserError
from schemas.manifest import MANIFEST_NAME, InputRef, input_file, input_stage, manifest_path, open_stage

# What opens an index is imported when one is named: every audit would wait for it otherwise.
if TYPE_CHECKING:
    from curate.contamination.index import EvalIndex
    from curate.dedup.index import RowIndex

SPLIT_FILES = tuple(f"data/{split}.jsonl" for split in ("train", "validation", "test"))


@dataclass(frozen=True)
class Indexes:
    """What was opened: at most one index of each kind."""

    evals: EvalIndex | None = None
    rows: RowIndex | None = None
    sha256: tuple[str, ...] = ()
    """Of the header or the manifest of each, in the order named."""

    def beside(self, corpus: Corpus, published: Corpus | None = None) -> Corpus:
        """The corpus with these indexes; eval items that were given as files join those of the index.

        Args:
            corpus: what was read.
            published: the same rows as they will be published, redacted and repaired, by which they are looked up among
                earlier rows; null for rows that stay as they are.
        """
        evals, earlier = self.evals, None
        if evals is not None and corpus.evals is not None:
            from curate.contamination.index import build_index, merge
            from curate.contamination.items import eval_items

            evals = merge(evals, build_index(eval_items(corpus.evals), evals.key))
        if self.rows is not None:
            from curate.earlier import Earlier, index_rows

            earlier = Earlier(self.rows, index_rows(published or corpus))
        return replace(corpus, eval_index=evals, earlier=earlier, memo={})


def open_indexes(paths: Sequence[Path], key_file: Path | None = None) -> Indexes:
    """Open what `--index` or `data.index` names.

    Args:
        paths: folders of indexes, and curated datasets (folder or manifest), whose rows are indexed in memory.
        key_file: of a keyed index; null takes the variable ASSAY_INDEX_KEY.

    Raises:
        UserError: one is neither, is damaged, of another version, or needs a key; two are of one kind.
    """
    opened = Indexes()
    # From the header on, not from the folder: somebody may add to the index meanwhile, which makes another header.
    for path in map(_named, paths):
        seen = (*opened.sha256, file_digest(path))
        if holds_rows(path):
            _once(opened.rows, path)
            from curate.row_store import load_rows

            rows = _rows_of_dataset(path) if is_dataset(path) else load_rows(path)
            opened = replace(opened, rows=rows, sha256=seen)
        else:
            from curate.contamination.store import load_index, read_key

            _once(opened.evals, path)
            opened = replace(opened, evals=load_index(path, read_key(key_file)), sha256=seen)
    return opened


def index_input(path: Path, folder: Path) -> InputRef:
    """An index as the input of a stage: the header that it has now, which stays when something is added.

    Raises:
        UserError: it is neither an index nor a curated dataset.
    """
    named = _named(path)
    return (input_stage if named.name == MANIFEST_NAME else input_file)("index", named, folder)


def holds_rows(path: Path) -> bool:
    """Whether this is an index of rows, or a dataset; reads no more than a header.

    Raises:
        UserError: it is neither, nor an index of eval items.
    """
    from schemas.index import read_header

    return is_dataset(path) or read_header(path).format.kind == "duplicates"


def is_dataset(path: Path) -> bool:
    """Whether this is the folder of a stage's result, or its manifest."""
    return manifest_path(path).name == MANIFEST_NAME and manifest_path(path).is_file()


def dataset_files(path: Path) -> tuple[Path, ...] | None:
    """The rows of a curated dataset as files of JSON lines; null for any other path.

    Raises:
        ManifestError: it is the result of another stage, or differs from its manifest.
        UserError: it holds no such file.
    """
    if not is_dataset(path):
        return None
    _, folder = open_stage(path, "curate")
    files = tuple(folder / name for name in SPLIT_FILES if (folder / name).is_file())
    if not files:
        raise UserError("this dataset has no rows as JSON lines", where=str(folder), expected=", ".join(SPLIT_FILES))
    return files


def _named(path: Path) -> Path:
    """The header or the manifest that stands for what a path names."""
    from schemas.index import header_path

    return manifest_path(path) if is_dataset(path) else header_path(path)


def _rows_of_dataset(path: Path) -> RowIndex:
    from curate.dedup.index import RowIndex, grown
    from curate.earlier import index_rows

    return grown(RowIndex(()), index_rows(read_corpus(dataset_files(path) or ())))


def _once(opened: object, path: Path) -> None:
    if opened is not None:
        raise UserError(
            "two indexes of one kind were named",
            where=str(path),
            help="`assay index add` makes one of them; an index of eval items and one of rows can be used together",
        )
