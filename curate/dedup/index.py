"""A persisted index of rows: which of them an earlier dataset holds already, as they stand or nearly so.

Exact hashes find equal rows. MinHash band keys propose near-duplicates, and comparing the texts that the index keeps
decides, by the same code as within a dataset.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from curate.dedup.kinds import KINDS, NEAR
from curate.dedup.pairs import SETTINGS, PairSearch, distinct_pairs
from curate.dedup.segments import BUCKET, SEED, Segment, kept_texts, memory_segment, pair_table, sketched

if TYPE_CHECKING:
    from numpy.typing import NDArray

ROWS_AT_ONCE = 20_000
"""Rows that are looked up together; the texts of their candidates are in memory at one time."""
NO_MATCH = pl.DataFrame(schema={"place": pl.Int64, "number": pl.Int64, "kind": pl.String, "similarity": pl.Float64})


@dataclass(frozen=True)
class RowIndex:
    """All segments of an index, the oldest first. A row is known by its number over all of them."""

    segments: tuple[Segment, ...]

    def __len__(self) -> int:
        return sum(map(len, self.segments))

    @property
    def exact_only(self) -> bool:
        """Whether texts were left out, so that near-duplicates cannot be told."""
        return any(segment.texts is None for segment in self.segments)

    def place(self, number: int) -> dict[str, Any]:
        """Where a row was: `path`, `line`, `row`, `row_id`."""
        segment = self._holder(number)
        return segment.place(number - segment.first)

    def answer(self, number: int) -> str | None:
        """The kept answer of a row; null where there is none."""
        segment = self._holder(number)
        ((_, answer),) = kept_texts(segment, np.array([number - segment.first]))
        return answer

    def _holder(self, number: int) -> Segment:
        return next(segment for segment in reversed(self.segments) if segment.first <= number)

    def same_content(self, rows: pl.DataFrame) -> NDArray[np.int64]:
        """For each row, the first indexed row with the same normalised content; -1 where there is none."""
        wanted = pair_table(rows, "content")
        return self._first([segment.same_content(wanted) for segment in self.segments], rows.height)

    def other_answer(self, rows: pl.DataFrame) -> NDArray[np.int64]:
        """For each row, the first indexed row with the same prompt and another answer; -1 where there is none."""
        wanted, said = pair_table(rows, "prompt"), rows["answer_key"].to_numpy()
        return self._first([segment.other_answer(wanted, said) for segment in self.segments], rows.height)

    def _first(self, found: list[NDArray[np.int64]], height: int) -> NDArray[np.int64]:
        """The number of the oldest match of each row."""
        first = np.full(height, -1)
        for segment, rows in zip(reversed(self.segments), reversed(found), strict=True):
            first[rows >= 0] = segment.first + rows[rows >= 0]
        return first

    def similar(self, rows: pl.DataFrame, threshold: float) -> pl.DataFrame:
        """Rows of which an indexed row is a verified near-duplicate, or equal but for what words leave out.

        Args:
            rows: with the columns of `segments.ROWS`.
            threshold: similarity from which a pair is a near-duplicate.

        Returns:
            `place` (of the row among those given), `number` (of the indexed row), `kind`, `similarity`.
        """
        parts = [NO_MATCH]
        for start in range(0, 0 if self.exact_only else rows.height, ROWS_AT_ONCE):
            found = self._similar(rows.slice(start, ROWS_AT_ONCE), threshold)
            parts.append(found.with_columns(pl.col("place") + start))
        return pl.concat(parts)

    def _similar(self, rows: pl.DataFrame, threshold: float) -> pl.DataFrame:
        told = rows["text"].is_not_null().arg_true().to_numpy()
        sketch, group = sketched(rows["text"].gather(told)), rows["group"].to_numpy()[told]
        found = [(segment, *segment.candidates(sketch, group)) for segment in self.segments]
        query = np.concatenate([told[query] for _, query, _ in found]).astype(np.int64)
        number = np.concatenate([segment.first + row for segment, _, row in found])
        return self._judged(rows, query, number, threshold) if len(query) else NO_MATCH

    def _judged(
        self, rows: pl.DataFrame, query: NDArray[np.int64], number: NDArray[np.int64], threshold: float
    ) -> pl.DataFrame:
        """Compare candidates as any other pairs; of each row the most similar match, and of equals the oldest."""
        own, earlier = np.unique(query), np.unique(number)
        kept = pl.DataFrame(self._texts(earlier), schema={"text": pl.String, "answer": pl.String}, orient="row")
        both = pl.concat([rows[own].select("text", "answer"), kept])
        pairs = np.stack((np.searchsorted(own, query), len(own) + np.searchsorted(earlier, number)), axis=1)
        workers = 1 if len(pairs) < BUCKET else os.cpu_count() or 1
        floor = max(0.0, threshold - 0.1)
        search = PairSearch(both["text"], both["answer"], SETTINGS["default"], floor, threshold, workers, SEED, None)
        judged = search.judged(distinct_pairs(pairs))
        judged = judged.where((judged.kind < NEAR) | ((judged.kind == NEAR) & (judged.similarity >= threshold)))
        found = pl.DataFrame(
            {
                "place": own[judged.rows[:, 0]],
                "number": earlier[judged.rows[:, 1] - len(own)],
                "kind": pl.Series(KINDS).gather(judged.kind),
                "similarity": judged.similarity,
                "rank": judged.kind,
            }
        )
        found = found.sort("place", "rank", "similarity", "number", descending=[False, False, True, False])
        return found.unique("place", keep="first", maintain_order=True).select(NO_MATCH.columns)

    def _texts(self, numbers: NDArray[np.int64]) -> list[tuple[str | None, str | None]]:
        """Of ascending rows."""
        found: list[tuple[str | None, str | None]] = []
        for segment in self.segments:
            inside = numbers[(numbers >= segment.first) & (numbers < segment.first + len(segment))]
            found += kept_texts(segment, inside - segment.first)
        return found


def unknown_rows(index: RowIndex, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows that an index does not hold yet, the first one of each content."""
    distinct = rows.unique(["content_high", "content_low"], keep="first", maintain_order=True)
    return distinct.filter(pl.Series(index.same_content(distinct) < 0, dtype=pl.Boolean))


def grown(index: RowIndex, rows: pl.DataFrame, exact_only: bool = False) -> RowIndex:
    """An index with these rows as one more segment, in memory."""
    added = unknown_rows(index, rows)
    return RowIndex((*index.segments, memory_segment(added, exact_only, len(index)))) if added.height else index
