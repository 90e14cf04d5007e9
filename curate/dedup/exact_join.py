"""All pairs across splits with at least a given Jaccard similarity, found exactly and without MinHash.

This is the independent check of a split. It shares no code with the search that built the split - its own words, its
own unit (sets of word pairs) and its own method - but for the decorator that compiles functions and the modules that
say where in memory a string lies and read bytes there (`compiled`, `spans`, `memory`).

Two sets can only be alike if they share at least r elements, and a row that shares r of the n elements of a set shares
at least k of any n - r + k of them: that many are listed for each row outside the largest split, those that are rarest
among these rows, and every row looks its elements up (the prefix filter of Chaudhuri, Ganti and Kaushik, ICDE 2006,
with the longer prefixes of Wang, Li and Feng, SIGMOD 2012; listing on one side only needs no common order). Rows that
share k are compared element by element.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from curate.dedup.spans import Spans, string_spans
from curate.dedup.word_classes import word_classes
from curate.spill import stored

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from curate.spill import Spill

_CHUNK_BYTES = 4 << 20
_INDEX_BYTES = 256 << 20  # text indexed at a time where sources do not fit in memory: about as much memory
_ROW_BYTES = 256  # what a row counts for beside its text
_SHARED = 2  # k
_TASK_PAIRS = 1 << 16  # pairs that a task has room for beside those of one row
_BATCH_PAIRS = 1 << 20
_COUNTER_BITS = 22


@dataclass(frozen=True)
class Sets:
    """Sets of hashes, one a row: `values[starts[i]:starts[i + 1]]`, distinct within the row, in the row's order."""

    values: NDArray[np.uint64]
    starts: NDArray[np.int64]

    @property
    def sizes(self) -> NDArray[np.int64]:
        """Elements of each set."""
        return np.diff(self.starts)


class Checker:
    """Checks splits of one text column, in memory that grows with the rows outside the largest split.

    With a spill it does not: these rows are indexed block by block, and each block costs reading all rows once.

    Args:
        text: String Series [n]; null rows hold no words.
        workers: threads; all cores when null. What is found does not depend on it.
        spill: where what is known of each row lies; null for memory.
    """

    def __init__(self, text: pl.Series, workers: int | None = None, spill: Spill | None = None) -> None:
        self._text = text.cast(pl.String)
        self._spill = spill
        spans = string_spans(self._text)
        self._spans = Spans(stored(spans.addresses, spill), stored(spans.lengths, spill), spans.owner)
        self._classes = word_classes()
        self._workers = workers or os.cpu_count() or 1

    def sets(self, rows: NDArray[np.int64] | None = None) -> Sets:
        """The sets of neighbouring word pairs of some rows, by default of all; one word alone is the set of that word.

        Elements are 64-bit hashes.
        """
        chosen = np.arange(len(self._spans)) if rows is None else rows
        tasks = [partial(lambda part: (self._made(part), None), part) for part in self._chunks(chosen)]
        sizes = [np.zeros(1, np.int64)]

        def parts() -> Iterator[NDArray[np.uint64]]:
            for made in _in_order(tasks, self._workers):
                sizes.append(made.sizes)
                yield made.values

        none = np.zeros(0, np.uint64)
        values = self._spill.numbers(parts(), none.dtype) if self._spill else np.concatenate([none, *parts()])
        return Sets(values, np.cumsum(np.concatenate(sizes)))

    def batches(self, splits: pl.Series, thresholds: NDArray[np.float64]) -> Iterator[pl.DataFrame]:
        """What `cross_pairs` returns, about a million pairs at a time, in an order that the arguments alone decide."""
        names = splits.unique().sort()
        if len(names) < 2:
            return
        split = splits.cast(pl.Enum(names)).to_physical().cast(pl.Int64).to_numpy()
        split = stored((split - int(np.argmax(np.bincount(split)))) % len(names), self._spill)  # the largest is 0
        outside = np.flatnonzero(split)
        held: list[pl.DataFrame] = []
        # A pair of indexed rows is found by the one that comes first, so that blocks find each pair once.
        for block in [outside] if self._spill is None else self._chunks(outside, _INDEX_BYTES):
            index = _Index(block, self.sets(block), thresholds, split)
            tasks = [partial(self._joined, part, index) for part in self._chunks(np.arange(len(split)))]
            for found in _in_order(tasks, self._workers):
                held.append(found)
                if sum(len(frame) for frame in held) >= _BATCH_PAIRS:
                    yield pl.concat(held)
                    held = []
        if held:
            yield pl.concat(held)

    def cross_pairs(self, splits: pl.Series, thresholds: NDArray[np.float64]) -> pl.DataFrame:
        """Every pair of rows in different splits whose Jaccard similarity reaches both rows' thresholds.

        Args:
            splits: name of each row's split [n].
            thresholds: least similarity that counts, per row [n]; a pair counts from the higher of its two.

        Returns:
            Columns a < b (row numbers), similarity; sorted by a, b. Rows without a word pair with nothing.
        """
        return pl.concat([_pairs(), *self.batches(splits, thresholds)]).sort("a", "b")

    def _chunks(self, rows: NDArray[np.int64], size: int | None = None) -> list[NDArray[np.int64]]:
        """Rows in parts of some bytes of text, by default a few megabytes."""
        ends = np.cumsum(self._spans.lengths[rows] + _ROW_BYTES) // (size or _CHUNK_BYTES)
        return [part for part in np.split(rows, np.flatnonzero(np.diff(ends)) + 1) if len(part)]

    def _plain(self, rows: NDArray[np.int64]) -> Spans:
        """Where the text of some rows lies, brought to NFKC where that makes other words."""
        from curate.dedup.join_kernel import find_unstable

        spans = self._spans.take(rows)
        unstable = np.empty(len(rows), dtype=np.bool_)
        if not find_unstable(spans.addresses, spans.lengths, self._classes, unstable):
            return spans
        normalised = string_spans(self._text.gather(rows[unstable]).str.normalize("NFKC"))
        spans.addresses[unstable], spans.lengths[unstable] = normalised.addresses, normalised.lengths
        return Spans(spans.addresses, spans.lengths, (spans.owner, normalised.owner))

    def _made(self, rows: NDArray[np.int64]) -> Sets:
        """The sets of one part."""
        from curate.dedup.join_kernel import make_sets

        spans = self._plain(rows)
        most = spans.lengths // 2 + 1  # words of a row: two bytes each, and room for one where there is none
        starts = np.zeros(len(rows) + 1, dtype=np.int64)
        values = np.empty(int(most.sum()), dtype=np.uint64)
        used = make_sets(spans.addresses, spans.lengths, self._classes, _table(int(most.max())), starts[1:], values)
        return Sets(values[:used].copy(), np.cumsum(starts))

    def _joined(self, rows: NDArray[np.int64], index: _Index) -> tuple[pl.DataFrame, partial[Any] | None]:
        """The first pairs of one part, and what finds the others."""
        return index.joined(rows, self._made(rows), 0)


class _Index:
    """The rows outside the largest split, found by the rarest of their elements.

    Args:
        rows: their numbers, ascending [m].
        sets: of these rows; the order of their elements is changed.
        thresholds: of each row [n].
        split: number of each row's split [n], 0 for the largest.
    """

    def __init__(
        self, rows: NDArray[np.int64], sets: Sets, thresholds: NDArray[np.float64], split: NDArray[np.int64]
    ) -> None:
        from curate.dedup.join_kernel import CLASSES, ROUNDING, TOLERANCE, post, rarest_first

        self._rows, self._asked = rows, (thresholds, split)
        begins, sizes = sets.starts[:-1], sets.sizes
        longest = int(sizes.max(initial=0))
        room = np.empty(longest, np.uint64), np.empty(longest, np.uint8), np.empty(CLASSES, np.int64)
        counts = np.zeros(1 << _COUNTER_BITS, dtype=np.uint32)
        rarest_first(begins, sizes, sets.values, counts, np.uint64(64 - _COUNTER_BITS), room)
        del counts
        least = np.maximum(np.ceil((thresholds[rows] - TOLERANCE) * sizes - ROUNDING), 1).astype(np.int64)
        needed = np.minimum(least, _SHARED)
        listed = np.maximum(np.minimum(sizes - least + needed, sizes), 0)
        entries = int(listed.sum())
        bits = max(entries.bit_length(), 1)  # up to two lists an entry
        starts = np.zeros((1 << bits) + 2, dtype=np.uint64)
        mark_bits = max(len(sets.values).bit_length() + 2, 5)  # four numbers an element or up to eight
        marks = np.zeros((2 << mark_bits) // 64, dtype=np.uint64)
        lists = np.uint64(64 - bits), starts, np.empty(entries, dtype=np.uint64)
        marked = np.uint64(64 - mark_bits), marks
        post(begins, sizes, listed, sets.values, lists, marked)
        self._index = lists, marked
        self._held = begins, sizes, rows, sets.values, needed

    def joined(self, rows: NDArray[np.int64], sets: Sets, first: int) -> tuple[pl.DataFrame, partial[Any] | None]:
        """The pairs of rows with indexed ones, from the first row to do on: those a task has room for, and the rest.

        The rest is what to call for it; null where there is none.
        """
        from curate.dedup.join_kernel import join_rows

        size = len(self._rows) + _TASK_PAIRS
        outputs = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size)
        counters = np.empty(len(self._rows), np.int64), np.zeros(len(self._rows), np.int64)
        room = _table(int(sets.sizes.max())), *counters
        about = first, sets.starts[:-1], sets.sizes, rows, sets.values
        used, done = join_rows(about, self._index, self._held, self._asked, room, outputs)
        rest = None if done == len(rows) else partial(self.joined, rows, sets, done)
        one, other, similarity = (column[:used] for column in outputs)
        return _pairs(np.minimum(one, other), np.maximum(one, other), similarity.copy()), rest


def _pairs(*columns: NDArray[Any]) -> pl.DataFrame:
    """Pairs from the columns of a table of them, none without."""
    schema = {"a": pl.Int64, "b": pl.Int64, "similarity": pl.Float64}
    return pl.DataFrame(dict(zip(schema, columns, strict=True)) if columns else None, schema=schema)


def _table(elements: int) -> NDArray[np.uint64]:
    """Working memory of the kernels: a hash table of so many elements, of which rows touch what they need."""
    return np.empty(max(8, 1 << (2 * elements).bit_length()), dtype=np.uint64)


def _in_order(tasks: Sequence[partial[Any]], workers: int) -> Iterator[Any]:
    """Results of tasks in order. A task returns (result, the task that does the rest of it or null).

    Few are under way at a time, so that results do not pile up.
    """
    with ThreadPoolExecutor(workers) as pool:
        waiting = iter(tasks)
        running = deque(pool.submit(task) for task in islice(waiting, workers + 1))
        while running:
            result, rest = running.popleft().result()
            if rest is not None:
                running.appendleft(pool.submit(rest))
            elif (task := next(waiting, None)) is not None:
                running.append(pool.submit(task))
            yield result
