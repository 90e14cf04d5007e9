"""An index of rows on disk: written segment by segment, checked, and mapped into memory."""

from __future__ import annotations

import functools
from hashlib import blake2b
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from curate.dedup.index import RowIndex, unknown_rows
from curate.dedup.segments import BANDING, ROWS, SEED, read_segment, sketched, write_segment
from curate.earlier import index_rows
from curate.readers import source_from_bytes
from schemas.errors import ExitCode, UserError
from schemas.index import AGAIN, IndexFormat, IndexHeader, add_segment, create_index, read_header, read_index

SCHEME = "blake2b-128 of normalised content, affine32 bands"
NORMALISATION = "NFKC, lower case, single spaces"
SPOKEN = "One two THREE four, five six seven - na\u00efve caf\u00e9, \u6f22\u5b57, \uff21\uff22, eight nine ten eleven!"
PROBES: tuple[dict[str, Any], ...] = (
    {"text": SPOKEN},
    {"prompt": f"Count:  {SPOKEN}", "completion": "No.\nNever.", "label": True},
    {"messages": [{"role": "system", "content": "Be Kind"}, {"role": "user", "content": SPOKEN[:20]}]},
    {"prompt": "a", "chosen": "b", "rejected": "c"},
)
"""Rows whose digests and bands tell whether an index was made by code that hashes as this does."""


class NothingToIndex(UserError):
    """There is no row that could be found again."""

    exit_code = ExitCode.INCONCLUSIVE


@functools.cache
def row_format(exact_only: bool) -> IndexFormat:
    """What an index of rows is made of by this version of assay."""
    probes = index_rows(source_from_bytes(b"".join(orjson.dumps(row) + b"\n" for row in PROBES)))
    state = blake2b(orjson.dumps(probes.drop("path").rows()), digest_size=32)
    parameters: dict[str, Any] = {"normalisation": NORMALISATION, "exact_only": exact_only}
    if not exact_only:
        sketch = sketched(probes["text"])
        for array in (sketch.bands, sketch.sequence, sketch.tokens):
            state.update(array.tobytes())
        parameters |= {
            "signatures": "datasketch affine32",
            "num_perm": BANDING.num_perm,
            "bands": BANDING.bands,
            "rows_per_band": BANDING.rows,
            "seed": SEED,
        }
    return IndexFormat(kind="duplicates", scheme=SCHEME, parameters=parameters, probe=state.hexdigest())


def build_rows(folder: Path, rows: pl.DataFrame, exact_only: bool = False) -> IndexHeader:
    """Index rows and write the folder in one step.

    Args:
        folder: of the index.
        rows: of `earlier.index_rows`.
        exact_only: keep no texts.

    Raises:
        NothingToIndex: there is no row that says anything.
        UserError: the folder exists, or cannot be written.
    """
    kept = unknown_rows(RowIndex(()), rows)
    if not kept.height:
        raise NothingToIndex(
            "there is no row to index",
            where=str(folder),
            found="no row of a known shape",
            help="nothing was written; `assay audit` says what is wrong with the rows",
        )

    def fill(path: Path) -> dict[str, int]:
        write_segment(kept.select(*ROWS), path, exact_only)
        return _counts(rows, kept)

    return create_index(folder, row_format(exact_only), fill)


def add_rows(folder: Path, rows: pl.DataFrame) -> IndexHeader:
    """Add the rows that an index does not hold yet.

    Raises:
        UserError: as `load_rows`, or the folder cannot be written.
    """

    def fill(header: IndexHeader, path: Path) -> dict[str, int]:
        kept = unknown_rows(load_rows(folder), rows)
        if not kept.height:
            return {}
        write_segment(kept.select(*ROWS), path, bool(header.format.parameters["exact_only"]))
        return _counts(rows, kept)

    return add_segment(folder, fill)


def _counts(rows: pl.DataFrame, kept: pl.DataFrame) -> dict[str, int]:
    return {"rows": kept.height, "rows_known": rows.height - kept.height}


def load_rows(path: Path) -> RowIndex:
    """Open an index of rows; its files are hashed and then mapped into memory.

    Args:
        path: its folder, or one of its headers.

    Raises:
        UserError: it cannot be opened, is damaged, or of another kind or version.
    """
    exact_only = read_header(path).format.parameters.get("exact_only") is True
    header, folder = read_index(path, row_format(exact_only))
    segments = []
    first = 0
    for segment in header.segments:
        try:
            segments.append(read_segment(folder / segment.name, exact_only, first))
        except (OSError, ValueError) as error:
            raise UserError(
                "the index is damaged", where=str(folder / segment.name), found=str(error), help=AGAIN
            ) from error
        first += len(segments[-1])
    return RowIndex(tuple(segments))
