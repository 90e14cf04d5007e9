"""The rows of all sources as columns: what the rules look at.

A row is one record of a file, or one piece of a file that should have been a record and could not be read. Nothing that
a file holds is left out: each row keeps the span of its bytes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from threading import RLock
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import orjson
import polars as pl
from numpy.typing import NDArray

from curate.spill import Bytes, Spill, frame_parts, stored
from schemas.progress import SILENT, Progress

if TYPE_CHECKING:
    from curate.contamination.index import EvalIndex
    from curate.contamination.tasks import EvalTask
    from curate.earlier import Earlier
    from curate.row_tokens import TokenSettings

ROWS_SCHEMA: dict[str, Any] = {
    "index": pl.UInt32,  # position over all sources; stays the same when rows are dropped
    "source": pl.UInt16,  # position in Corpus.sources
    "line": pl.Int64,  # 1-based physical line; null where the format has none
    "row": pl.Int64,  # 0-based record in its file
    "start": pl.Int64,  # span of the row's bytes in its source's buffer
    "stop": pl.Int64,
    "row_id": pl.String,  # digest of the canonical content; null where nothing could be parsed
    "kind": pl.String,  # schemas.records.Kind; null where the record has no known shape
    "shape": pl.String,  # wire shape as found: chat, sharegpt, alpaca, ...
    "metadata": pl.String,  # JSON of everything that is not content; null where there is none
    "beside": pl.String,  # digest of content that is no turn: tools, label, weights; null where there is none
}
TURNS_SCHEMA: dict[str, Any] = {
    "index": pl.UInt32,
    "turn": pl.Int32,  # 0-based message index
    "part": pl.String,  # messages, rejected, reference or text
    "role": pl.String,  # null where the role is missing or not a string
    "content": pl.String,  # null where there is none
    "calls": pl.String,  # JSON of tool calls; null where there are none
}
FAULTS_SCHEMA: dict[str, Any] = {
    "kind": pl.String,  # name of the rule that reports it
    "index": pl.UInt32,  # null for a fault of the file that belongs to no row
    "source": pl.UInt16,
    "line": pl.Int64,
    "turn": pl.Int32,
    "found": pl.String,
    "expected": pl.String,
}

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
COMPILED_BYTES = 8 << 20
"""Sources from which on compiled code saves more time than loading it takes."""

T = TypeVar("T")


class Once:
    """A value that the first thread to ask for it computes while the others wait."""

    def __init__(self) -> None:
        self._lock = RLock()
        self._value: tuple[Any] | None = None

    def value(self, compute: Callable[[], Any]) -> Any:
        """`compute()`; should it raise, the next one to ask computes again."""
        with self._lock:
            if self._value is None:
                self._value = (compute(),)
            return self._value[0]


@dataclass(frozen=True)
class Source:
    """One file as it was read."""

    path: str
    """As the user named it."""
    format: str
    """jsonl, json, csv, tsv, parquet, arrow or text."""
    sha256: str
    """Digest of the file's bytes as they were read."""
    size: int
    """Bytes of the file."""
    rows: int
    buffer: Bytes = field(repr=False)
    """Holds the bytes of each row at its span: the file itself, unpacked, or JSON made from a table's records."""
    lines: bool = True
    """Whether `line` means something in this format."""
    split: str | None = None
    """The split that the file holds, where a saved dataset says so."""
    within: str = ""
    """Where in the file the records were, for people; empty where it holds nothing else."""


@dataclass(frozen=True)
class Shard:
    """What one file of many knows of the others."""

    number: int
    """Its place among them."""
    common_runs: NDArray[np.bool_] | None
    """For each run of words of the eval items, whether the rows of all shards use it everywhere; null without items."""


@dataclass(frozen=True)
class Corpus:
    """Rows, their turns and the faults met while reading. Rules read it and never change it.

    Raises nothing by itself; frames have the columns of ROWS_SCHEMA, TURNS_SCHEMA and FAULTS_SCHEMA, in reading order.
    """

    sources: tuple[Source, ...]
    rows: pl.DataFrame
    turns: pl.DataFrame
    faults: pl.DataFrame
    evals: Corpus | None = None
    """Eval items to keep out of training."""
    tasks: Mapping[str, EvalTask] = field(default_factory=dict)
    """Path of a source of eval items -> the task whose items it holds, where a task file named it."""
    eval_index: EvalIndex | None = None
    """An index of eval items, which stands for `evals`."""
    earlier: Earlier | None = None
    """An index of the rows of earlier datasets."""
    token_settings: TokenSettings | None = None
    """The model and the length that rows are measured with; null where nobody named any."""
    columns: Mapping[str, str] = field(default_factory=dict)
    """Our field name -> the files' column, as the rows were read."""
    rewritten: Mapping[int, bytes] = field(default_factory=dict)
    """Row index -> JSON of its record after redaction."""
    skipped: Mapping[str, str] = field(default_factory=dict)
    """Path of what the search for files left out -> why."""
    shard: Shard | None = None
    """Which part of the rows this is; null where it is all of them."""
    spill: Spill | None = field(default=None, repr=False, compare=False)
    """Where the text lies that need not fit in memory; null where it does."""
    progress: Progress = field(default=SILENT, repr=False, compare=False)
    """Where a search that takes long shows how far it is."""
    memo: dict[Any, Once] = field(default_factory=dict, repr=False, compare=False)
    """Results that several rules share, such as the pairs of similar rows."""

    @property
    def height(self) -> int:
        """Rows, broken ones included."""
        return self.rows.height

    @property
    def is_large(self) -> bool:
        """Whether it is worth loading compiled code: a small corpus is done before that."""
        return sum(source.size for source in self.sources) >= COMPILED_BYTES

    def remembered(self, key: Any, compute: Callable[[], T]) -> T:
        """The value of `compute()`, computed once for this corpus, whichever threads ask for it."""
        once: Once = self.memo.setdefault(key, Once())
        value: T = once.value(compute)
        return value

    def without(self, dropped: Iterable[int]) -> Corpus:
        """The same corpus less the rows with these indexes."""
        gone = np.unique(np.fromiter(dropped, np.int64))
        if not len(gone) or not self.height:
            return self
        top = int(self.rows["index"].tail(1).item())  # indexes are sorted
        stays = np.ones(top + 1, dtype=np.bool_)
        stays[gone[gone <= top]] = False

        def left(frame: pl.DataFrame) -> pl.DataFrame:
            return frame.filter(pl.Series(stays[frame["index"].to_numpy()], dtype=pl.Boolean))

        # A fault of the file that belongs to no row has a null index and stays.
        of_rows = self.faults["index"].fill_null(0).to_numpy()
        return replace(
            self,
            rows=self.in_parts(lambda part: left(part.rows)),
            turns=self.in_parts(lambda part: left(part.turns)),
            faults=self.faults.filter(pl.col("index").is_null() | pl.Series(stays[of_rows], dtype=pl.Boolean)),
            memo={},
        )

    def in_parts(self, compute: Callable[[Corpus], pl.DataFrame]) -> pl.DataFrame:
        """`compute(self)` for a function that looks at each row by itself: part by part if the text lies on disk."""
        if self.spill is None or not self.height:
            return compute(self)
        return self.spill.frames(compute(part) for part in self._parts())

    def stored(self, frame: pl.DataFrame) -> pl.DataFrame:
        """A frame with a line for each row or turn, in memory or where the text lies."""
        return frame if self.spill is None else self.spill.frame(frame)

    def _parts(self) -> Iterator[Corpus]:
        index = self.turns["index"]
        for start, count in frame_parts(self.rows, pl.col("stop") - pl.col("start")):
            rows = self.rows.slice(start, count)
            first = index.search_sorted(rows["index"][0], "left")
            turns = self.turns.slice(first, index.search_sorted(rows["index"][-1], "right") - first)
            yield replace(self, rows=rows, turns=turns, memo={})

    def searched(self, part: str, done: int, total: int) -> None:
        """Show how far a search for duplicates is; `find_duplicates` calls this."""
        self.progress.part(part, done, total, "pairs" if part == "verify" else "rows")

    def place(self, index: int) -> Place:
        """Where a row is.

        Raises:
            KeyError: no row has this index.
        """
        spans, indexes = self.remembered("spans", self._spans)
        position = bisect_left(indexes, index)
        if position == len(indexes) or indexes[position] != index:
            raise KeyError(index)
        return Place(*spans.row(position))

    def _spans(self) -> tuple[pl.DataFrame, memoryview]:
        """The columns of `Place`, and a view of the indexes, which are sorted: no object for any row."""
        spans = self.rows.select("index", "source", "line", "row", "row_id", "start", "stop")
        # In one piece a place is found at once, and all of them take fifty bytes a row of memory.
        spans = spans.rechunk() if self.spill is None else spans
        indexes: Any = stored(spans["index"].to_numpy(), self.spill)
        return spans, memoryview(indexes)

    def raw(self, index: int) -> bytes:
        """The bytes of a row as they stand in its file."""
        place = self.place(index)
        return self.sources[place.source].buffer[place.start : place.stop]

    def record(self, index: int) -> Any:
        """The record of a row as plain data, after redaction.

        Raises:
            orjson.JSONDecodeError: the row was never readable.
        """
        return orjson.loads(self.rewritten.get(index) or self.raw(index).lstrip(BYTE_ORDER_MARK))

    def records(self, rows: pl.DataFrame) -> Iterator[Any]:
        """The record of each of these rows in their order, as `record` gives it: for many rows at once.

        Args:
            rows: with the columns `index`, `source`, `start` and `stop`.

        Raises:
            orjson.JSONDecodeError: a row was never readable.
        """
        buffers = [source.buffer for source in self.sources]
        for index, source, start, stop in rows.select("index", "source", "start", "stop").iter_rows():
            yield orjson.loads(self.rewritten.get(index) or buffers[source][start:stop].lstrip(BYTE_ORDER_MARK))


@dataclass(frozen=True, slots=True)
class Place:
    """Where a row is, and its span in the buffer of its source."""

    index: int
    source: int
    line: int | None
    row: int
    row_id: str | None
    start: int
    stop: int


def all_texts(corpus: Corpus) -> pl.DataFrame:
    """Every text of every row, in the order of the rows: `index`, `turn`, `text`.

    Turns come first, then their tool calls, then the row's metadata as JSON with a null turn.
    """

    def compute(part: Corpus) -> pl.DataFrame:
        said = part.turns.select("index", "turn", text="content")
        said = said.drop_nulls("text") if said["text"].null_count() else said
        called = part.turns.filter(pl.col("calls").is_not_null()).select("index", "turn", text="calls")
        other = part.rows.filter(pl.col("metadata").is_not_null()).select(
            "index", turn=pl.lit(None, pl.Int32), text="metadata"
        )
        if called.is_empty() and other.is_empty():
            return said
        # The text itself stays where it is: what is sorted are references to it.
        return pl.concat([said, called, other]).sort("index", maintain_order=True)

    return corpus.remembered("all_texts", lambda: corpus.in_parts(compute))
