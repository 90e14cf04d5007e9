"""One segment of a persisted index of rows: what it holds, how it is written, and how it is searched.

Arrays are sorted when they are written and searched by halving in files mapped into memory, so that a search touches
the pages that it needs and opening a segment costs nothing.
"""

from __future__ import annotations

import io
import mmap
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import polars as pl

from curate.dedup.kept_text import Kept, KeptTexts, write_texts
from curate.dedup.lsh import Banding
from curate.dedup.pairs import MIN_TOKENS, Sketch, text_slices
from curate.dedup.spans import string_spans

if TYPE_CHECKING:
    from numpy.typing import NDArray

BANDING = Banding(bands=32, rows=5)
"""That of the default search among few rows, however many there are: an index grows, and its bands cannot."""
SEED = 1
BUCKET = 16
"""Rows of one bucket that become candidates: of a larger one, those whose next band key is nearest."""
CANDIDATES = 24
"""Candidates of one row that are compared: those that share the most bands with it."""
EXACT_ARRAYS = {
    "content": np.uint64, "content_row": np.uint32, "prompt": np.uint64, "prompt_row": np.uint32,
    "answer_key": np.uint64, "path": np.uint32, "line": np.int64, "row": np.int64, "row_id": np.uint8,
}  # fmt: skip
NEAR_ARRAYS = {
    "group": np.uint64, "sequence": np.uint64, "sequence_row": np.uint32, "bands": np.uint64, "band_rows": np.uint32,
    "ends": np.int64, "blocks": np.int64, "missing": np.uint8,
}  # fmt: skip
PATHS, TEXTS = "paths.json", "texts.zst"
U32 = np.uint64(32)

ROWS: dict[str, Any] = {
    "content_high": pl.UInt64,
    "content_low": pl.UInt64,  # 128-bit digest of the normalised content
    "prompt_high": pl.UInt64,
    "prompt_low": pl.UInt64,  # of what stands before the last answer; 0 where nothing can contradict the answer
    "answer_key": pl.UInt64,  # of the normalised answer
    "group": pl.UInt64,  # of the instructions and of what stands beside the turns
    "text": pl.String,  # what near-duplicates are told by; null where the row says nothing
    "answer": pl.String,
    "path": pl.String,
    "line": pl.Int64,
    "row": pl.Int64,
    "row_id": pl.String,  # 32 hexadecimal digits
}
"""Columns of rows that are indexed or looked up."""


@dataclass(frozen=True)
class Segment:
    """The rows of one build or of one addition, numbered from 0."""

    arrays: Mapping[str, NDArray[Any]]
    """Of EXACT_ARRAYS, and of NEAR_ARRAYS where texts are kept."""
    paths: tuple[str, ...]
    texts: KeptTexts | None
    """Null where only exact hashes are kept."""
    first: int = 0
    """Rows of the segments before it."""

    def __len__(self) -> int:
        return len(self.arrays["line"])

    def place(self, row: int) -> dict[str, Any]:
        """Where a row was, as evidence names it."""
        line = int(self.arrays["line"][row])
        return {
            "path": self.paths[int(self.arrays["path"][row])],
            "line": line if line > 0 else None,
            "row": int(self.arrays["row"][row]),
            "row_id": bytes(self.arrays["row_id"][row]).hex(),
        }

    def same_content(self, wanted: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The row with each content, [2, n] high and low words of its digest; -1 where there is none."""
        at, _ = find(self.arrays["content"], wanted)
        found = np.full(len(at), -1)
        found[at >= 0] = self.arrays["content_row"][at[at >= 0]]
        return found

    def other_answer(self, wanted: NDArray[np.uint64], said: NDArray[np.uint64]) -> NDArray[np.int64]:
        """The first row with each prompt, [2, n] as above, and another answer than `said` [n]; -1 if there is none."""
        begin, end = find(self.arrays["prompt"], wanted)
        found = np.full(len(begin), -1)
        for place in np.flatnonzero((begin >= 0) & (wanted != 0).any(axis=0)).tolist():
            rows = self.arrays["prompt_row"][begin[place] : end[place]]
            others = rows[self.arrays["answer_key"][rows] != said[place]]
            if len(others):
                found[place] = others[0]
        return found

    def candidates(self, sketch: Sketch, group: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Pairs (place in the sketch, row) of the same group that share tokens or bands.

        Args:
            sketch: of `sketched`.
            group: uint64, of each sketched row.
        """
        if self.texts is None:
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        begin, end = buckets(self.arrays["sequence"], sketch.sequence, sketch.sequence)
        query, at = spread(begin, np.minimum(end, begin + BUCKET))
        packed = [query.astype(np.uint64) << U32 | self.arrays["sequence_row"][at]]
        some = np.flatnonzero(sketch.tokens >= MIN_TOKENS)
        for band, (keys, rows) in enumerate(zip(self.arrays["bands"], self.arrays["band_rows"], strict=True)):
            wanted = packed_keys(sketch.bands[:, some], band)
            low = wanted >> U32 << U32
            begin, end = buckets(keys, low, low | np.uint64(0xFFFFFFFF))
            near = np.searchsorted(keys, wanted) - BUCKET // 4
            begin = np.where(end - begin > BUCKET, np.clip(near, begin, end - BUCKET), begin)
            query, at = spread(begin, np.minimum(end, begin + BUCKET))
            packed.append(some[query].astype(np.uint64) << U32 | rows[at])
        pairs, shared = np.unique(np.concatenate(packed), return_counts=True)
        query, row = (pairs >> U32).astype(np.int64), (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)
        same = self.arrays["group"][row] == group[query]
        return most_shared(query[same], row[same], shared[same])


def most_shared(
    query: NDArray[np.int64], row: NDArray[np.int64], shared: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Of each query the CANDIDATES rows with the highest number, and of equals the first ones."""
    order = np.lexsort((row, -shared, query))
    query, row = query[order], row[order]
    opening = np.flatnonzero(np.concatenate(([True], query[1:] != query[:-1]))) if len(query) else np.zeros(0, np.int64)
    sizes = np.diff(np.append(opening, len(query)))
    kept = np.arange(len(query)) - np.repeat(opening, sizes) < CANDIDATES
    return query[kept], row[kept]


def find(table: NDArray[np.uint64], wanted: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(first, end) of where each column of `wanted` [2, n] stands in a sorted table [2, rows]; -1 where it does not."""
    begin, end = buckets(table[0], wanted[0], wanted[0])
    for place in np.flatnonzero(end > begin).tolist():
        low = table[1][begin[place] : end[place]]
        end[place] = begin[place] + np.searchsorted(low, wanted[1, place], "right")
        begin[place] += np.searchsorted(low, wanted[1, place], "left")
    return np.where(end > begin, begin, -1), end


def buckets(
    keys: NDArray[np.uint64], low: NDArray[np.uint64], high: NDArray[np.uint64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Where the keys from each low to its high begin and end in a sorted array."""
    order = np.argsort(low)  # neighbours are looked for in the same pages
    begin, end = np.empty(len(low), np.int64), np.empty(len(low), np.int64)
    begin[order] = np.searchsorted(keys, low[order], "left")
    end[order] = np.searchsorted(keys, high[order], "right")
    return begin, end


def spread(begin: NDArray[np.int64], end: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(number of its range, place) of each place of some ranges."""
    sizes = np.maximum(end - begin, 0)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    return owner, np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + begin[owner]


def packed_keys(bands: NDArray[np.uint32], band: int) -> NDArray[np.uint64]:
    """The key of a band above that of the next one: sorted, the most alike rows of a bucket are neighbours."""
    packed: NDArray[np.uint64] = bands[band].astype(np.uint64) << U32 | bands[(band + 1) % len(bands)]
    return packed


def sketched(text: pl.Series) -> Sketch:
    """Band keys, token hash and number of tokens of each text."""
    from curate.dedup.tables import permutations

    spans, drawn = string_spans(text), permutations(BANDING.num_perm, SEED)
    sketch = Sketch.empty(BANDING.bands, len(text))
    for part in text_slices(spans.lengths):
        sketch.fill(part, spans.take(part), drawn, BANDING.rows)
    return sketch


def pair_table(rows: pl.DataFrame, name: str) -> NDArray[np.uint64]:
    """The two words of a digest as [2, n]."""
    return np.stack([rows[f"{name}_{word}"].to_numpy() for word in ("high", "low")])


def write_segment(rows: pl.DataFrame, folder: Path, exact_only: bool) -> None:
    """Write the files of a segment into an empty folder; arguments as for `memory_segment`."""
    arrays = _exact_arrays(rows)
    if not exact_only:
        with (folder / TEXTS).open("wb") as stream:
            arrays |= _near_arrays(rows) | write_texts(rows.select("text", "answer").iter_rows(), stream)
    for name, array in arrays.items():
        np.save(folder / f"{name}.npy", np.ascontiguousarray(array), allow_pickle=False)
    (folder / PATHS).write_bytes(orjson.dumps(_paths(rows).to_list()))


def memory_segment(rows: pl.DataFrame, exact_only: bool, first: int) -> Segment:
    """A segment that is not written anywhere.

    Args:
        rows: with the columns of ROWS, distinct in their content.
        exact_only: keep no texts: near-duplicates cannot be told then, nor can anybody read the rows.
        first: rows of the segments before it.
    """
    arrays, texts = _exact_arrays(rows), None
    if not exact_only:
        stream = io.BytesIO()
        arrays |= _near_arrays(rows) | write_texts(rows.select("text", "answer").iter_rows(), stream)
        texts = KeptTexts(stream.getbuffer(), arrays["ends"], arrays["blocks"], arrays["missing"])
    return Segment(arrays, tuple(_paths(rows)), texts, first)


def _paths(rows: pl.DataFrame) -> pl.Series:
    return rows["path"].unique(maintain_order=True)


def _exact_arrays(rows: pl.DataFrame) -> dict[str, NDArray[Any]]:
    content, prompt, paths = pair_table(rows, "content"), pair_table(rows, "prompt"), _paths(rows)
    by_content, by_prompt = (np.lexsort((table[1], table[0])) for table in (content, prompt))
    asked = by_prompt[(prompt[:, by_prompt] != 0).any(axis=0)]
    return {
        "content": content[:, by_content],
        "content_row": by_content.astype(np.uint32),
        "prompt": prompt[:, asked],
        "prompt_row": asked.astype(np.uint32),
        "answer_key": rows["answer_key"].to_numpy(),
        "path": rows["path"].replace_strict(paths, range(len(paths)), return_dtype=pl.UInt32).to_numpy(),
        "line": rows["line"].fill_null(0).to_numpy(),
        "row": rows["row"].to_numpy(),
        "row_id": np.frombuffer(b"".join(map(bytes.fromhex, rows["row_id"])), np.uint8).reshape(-1, 16),
    }


def _near_arrays(rows: pl.DataFrame) -> dict[str, NDArray[Any]]:
    told = rows["text"].is_not_null().arg_true().to_numpy().astype(np.uint32)
    sketch = sketched(rows["text"].gather(told))
    by_tokens = np.argsort(sketch.sequence, kind="stable")
    some = np.flatnonzero(sketch.tokens >= MIN_TOKENS)
    bands, band_rows = (np.empty((BANDING.bands, len(some)), kind) for kind in (np.uint64, np.uint32))
    for band in range(BANDING.bands):
        keys = packed_keys(sketch.bands[:, some], band)
        order = np.argsort(keys, kind="stable")
        bands[band], band_rows[band] = keys[order], told[some[order]]
    return {
        "group": rows["group"].to_numpy(),
        "sequence": sketch.sequence[by_tokens],
        "sequence_row": told[by_tokens],
        "bands": bands,
        "band_rows": band_rows,
    }


def read_segment(folder: Path, exact_only: bool, first: int) -> Segment:
    """A segment whose arrays and texts are mapped into memory.

    Raises:
        ValueError: a file is no array, or they do not fit together.
        OSError: one cannot be read.
    """
    kinds = EXACT_ARRAYS if exact_only else EXACT_ARRAYS | NEAR_ARRAYS
    arrays = {name: _mapped(folder / f"{name}.npy", kind) for name, kind in kinds.items()}
    paths = tuple(orjson.loads((folder / PATHS).read_bytes()))
    _check_shapes(arrays, len(paths))
    texts = None
    if not exact_only:
        with (folder / TEXTS).open("rb") as stream:
            size = stream.seek(0, 2)
            data: Any = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
        texts = KeptTexts(data, arrays["ends"], arrays["blocks"], arrays["missing"])
    return Segment(arrays, paths, texts, first)


def _mapped(path: Path, kind: Any) -> NDArray[Any]:
    """An array whose values stay on disk until they are asked for."""
    array: NDArray[Any] = np.load(path, allow_pickle=False, mmap_mode="r")
    if array.dtype != kind:
        raise ValueError(f"{path.name} holds {array.dtype}, not {np.dtype(kind)}")
    return array


def _check_shapes(arrays: Mapping[str, NDArray[Any]], paths: int) -> None:
    """Make sure that arrays are as long as each other, and that no number points beyond what there is.

    Raises:
        ValueError: naming the array.
    """
    rows = len(arrays["line"])
    asked, told = len(arrays["prompt_row"]), len(arrays.get("sequence_row", ()))
    some = arrays["band_rows"].shape[-1] if "band_rows" in arrays else 0
    shapes = {
        "content": (2, rows), "content_row": (rows,), "prompt": (2, asked), "answer_key": (rows,), "path": (rows,),
        "row": (rows,), "row_id": (rows, 16), "group": (rows,), "sequence": (told,), "ends": (2 * rows,),
        "missing": (rows,), "bands": (BANDING.bands, some), "band_rows": (BANDING.bands, some),
    }  # fmt: skip
    for name, shape in shapes.items():
        if name in arrays and arrays[name].shape != shape:
            raise ValueError(f"{name}.npy has the shape {arrays[name].shape}, not {shape}")
    for name in ("content_row", "prompt_row", "sequence_row", "band_rows", "path"):
        if name in arrays and arrays[name].size and arrays[name].max() >= (paths if name == "path" else rows):
            raise ValueError(f"{name}.npy points beyond what there is")


def kept_texts(segment: Segment, rows: NDArray[np.int64]) -> Iterable[Kept]:
    """Text and answer of some ascending rows; nulls where the segment keeps none."""
    return ((None, None) for _ in rows) if segment.texts is None else segment.texts.of(rows)
