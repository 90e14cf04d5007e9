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

if TYPE_CHECKING:
    from numpy.typing import NDArray

_CHUNK_BYTES = 4 << 20
_ROW_BYTES = 256  # what a row counts for beside its text
_SHARED = 2  # k
_BATCH_PAIRS = 1 << 16  # pairs that a batch has room for beside those of one row
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


@dataclass(frozen=True)
class Batch:
    """Some of the pairs found: row numbers `a` < `b` (int64) and the `similarity` of each (float64)."""

    a: NDArray[np.int64]
    b: NDArray[np.int64]
    similarity: NDArray[np.float64]


class Checker:
    """Checks splits of one text column, in memory that grows with the rows outside the largest split.

    Args:
        text: String Series [n]; null rows hold no words.
        workers: threads; all cores when null. What is found does not depend on it.
    """

    def __init__(self, text: pl.Series, workers: int | None = None) -> None:
        self._text = text.cast(pl.String)
        self._spans = string_spans(self._text)
        self._workers = workers or os.cpu_count() or 1

    def sets(self, rows: NDArray[np.int64] | None = None) -> Sets:
        """The sets of neighbouring word pairs of some rows, by default of all; one word alone is the set of that word.

        Elements are 64-bit hashes.
        """
        chosen = np.arange(len(self._spans)) if rows is None else rows
        tasks = [partial(self._set_part, part) for part in self._chunks(chosen)]
        sizes, values = [np.zeros(1, np.int64)], [np.zeros(0, np.uint64)]
        for part_sizes, part_values in _in_order(tasks, self._workers):
            sizes.append(part_sizes)
            values.append(part_values)
        return Sets(np.concatenate(values), np.cumsum(np.concatenate(sizes)))

    def batches(self, splits: pl.Series, thresholds: NDArray[np.float64]) -> Iterator[Batch]:
        """What `cross_pairs` returns, part by part, in an order that depends on text, splits and thresholds only."""
        names, split = np.unique(splits.to_numpy().astype(str), return_inverse=True)
        if len(names) < 2:
            return
        split = (split - int(np.argmax(np.bincount(split)))) % len(names)  # the largest is 0
        outside = np.flatnonzero(split)
        index = _Index(outside, self.sets(outside), thresholds, split)
        tasks = [partial(self._join_part, part, 0, index) for part in self._chunks(np.arange(len(split)))]
        yield from _in_order(tasks, self._workers)

    def cross_pairs(self, splits: pl.Series, thresholds: NDArray[np.float64]) -> pl.DataFrame:
        """Every pair of rows in different splits whose Jaccard similarity reaches both rows' thresholds.

        Args:
            splits: name of each row's split [n].
            thresholds: least similarity that counts, per row [n]; a pair counts from the higher of its two.

        Returns:
            Columns a < b (row numbers), similarity; sorted by a, b. Rows without a word pair with nothing.
        """
        schema = {"a": pl.Int64, "b": pl.Int64, "similarity": pl.Float64}
        found = [
            pl.DataFrame({"a": batch.a, "b": batch.b, "similarity": batch.similarity}, schema=schema)
            for batch in self.batches(splits, thresholds)
        ]
        return pl.concat([pl.DataFrame(schema=schema), *found]).sort("a", "b")

    def _chunks(self, rows: NDArray[np.int64]) -> list[NDArray[np.int64]]:
        """Rows in parts of some megabytes of text."""
        ends = np.cumsum(self._spans.lengths[rows] + _ROW_BYTES) // _CHUNK_BYTES
        return [part for part in np.split(rows, np.flatnonzero(np.diff(ends)) + 1) if len(part)]

    def _plain(self, rows: NDArray[np.int64]) -> Spans:
        """Where the text of some rows lies, brought to NFKC where that makes other words."""
        from curate.dedup.join_kernel import find_unstable

        spans = self._spans.take(rows)
        unstable = np.empty(len(rows), dtype=np.bool_)
        if not find_unstable(spans.addresses, spans.lengths, word_classes(), unstable):
            return spans
        normalised = string_spans(self._text.gather(rows[unstable]).str.normalize("NFKC"))
        spans.addresses[unstable], spans.lengths[unstable] = normalised.addresses, normalised.lengths
        return Spans(spans.addresses, spans.lengths, (spans.owner, normalised.owner))

    def _set_part(self, rows: NDArray[np.int64]) -> tuple[tuple[NDArray[np.int64], NDArray[np.uint64]], None]:
        """(sizes, elements) of the sets of one part, and no rest."""
        from curate.dedup.join_kernel import make_sets

        spans = self._plain(rows)
        sizes = np.empty(len(rows), dtype=np.int64)
        values = np.empty(int(_most_words(spans.lengths).sum()), dtype=np.uint64)
        used = make_sets(spans.addresses, spans.lengths, word_classes(), _row_room(spans), sizes, values)
        return (sizes, values[:used].copy()), None

    def _join_part(self, rows: NDArray[np.int64], first: int, index: _Index) -> tuple[Batch, partial[Any] | None]:
        """The pairs of one part from a row on, as far as a batch has room, and the rest of the part."""
        from curate.dedup.join_kernel import join_rows

        spans = self._plain(rows)
        about = first, spans.addresses, spans.lengths, index.thresholds[rows], index.split[rows], rows
        size = len(index.rows) + _BATCH_PAIRS
        outputs = np.empty(size, np.int64), np.empty(size, np.int64), np.empty(size)
        room = (*_row_room(spans), np.empty(len(index.rows), np.int64), np.zeros(len(index.rows), np.int64))
        used, done = join_rows(about, word_classes(), index.lists, index.held, room, outputs)
        a, b, similarity = (column[:used].copy() for column in outputs)
        rest = None if done == len(rows) else partial(self._join_part, rows, done, index)
        return Batch(a, b, similarity), rest


class _Index:
    """The rows outside the largest split, found by the rarest of their elements.

    Attributes:
        split: number of each row's split [n], 0 for the largest.
        thresholds: of each row [n].
        lists, held: arguments of `join_rows`.
    """

    def __init__(
        self, rows: NDArray[np.int64], sets: Sets, thresholds: NDArray[np.float64], split: NDArray[np.int64]
    ) -> None:
        from curate.dedup.join_kernel import ROUNDING, TOLERANCE, post, rarest_first

        self.rows, self.thresholds, self.split = rows, thresholds, split
        begins, sizes = sets.starts[:-1], sets.sizes
        counts = np.zeros(1 << _COUNTER_BITS, dtype=np.uint32)
        rarest_first(begins, sizes, sets.values, counts, np.uint64(64 - _COUNTER_BITS))
        del counts
        least = np.maximum(np.ceil((thresholds[rows] - TOLERANCE) * sizes - ROUNDING), 1).astype(np.int64)
        needed = np.minimum(least, _SHARED)
        listed = np.maximum(np.minimum(sizes - least + needed, sizes), 0)
        entries = int(listed.sum())
        bits = max(entries.bit_length(), 1)
        shift = np.uint64(64 - bits)
        starts = np.zeros((1 << bits) + 2, dtype=np.int64)
        posted, owners = np.empty(entries, dtype=np.uint64), np.empty(entries, dtype=np.int32)
        post(begins, listed, sets.values, shift, starts, posted, owners)
        self.lists = shift, starts, posted, owners
        self.held = begins, sizes, needed, thresholds[rows], split[rows], rows, sets.values


def _most_words(lengths: NDArray[np.int64]) -> NDArray[np.int64]:
    """The most words that rows of some bytes can hold: two bytes each, and room for one where there is none."""
    return lengths // 2 + 1


def _row_room(spans: Spans) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """(pairs, table), the kernels' working memory for the longest row; only what rows need of it is ever touched."""
    most = int(_most_words(spans.lengths).max())
    return np.empty(most, dtype=np.uint64), np.empty(max(8, 1 << (2 * most - 1).bit_length()), dtype=np.uint64)


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
