"""Changing what rows say: redaction and repair, applied to the record itself so that no copy of the old text stays."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from heapq import merge
from typing import Any

import orjson
import polars as pl

from curate.rows import Corpus
from curate.rules.base import Rule
from curate.spill import Bytes, Spill


def rewritten(corpus: Corpus, rule: Rule, indexes: pl.Series) -> Corpus:
    """The corpus with a rule's rewriting applied to every text of the rows named: turns, calls, metadata, record.

    Row ids stay those of the rows as they came in, so that they can be traced.

    Args:
        corpus: readable rows.
        rule: a rule that overrides `rewrite`.
        indexes: which rows; rows in which nothing changes are left as they are.
    """
    chosen = indexes.implode()
    rows = corpus.rows.filter(pl.col("index").is_in(chosen))

    def changes() -> Iterator[tuple[int, bytes]]:
        for index, record in zip(rows["index"], corpus.records(rows), strict=True):
            changed = rewrite_value(record, rule)
            if changed != record:
                yield index, orjson.dumps(changed)

    def change(frame: pl.DataFrame, *columns: str) -> pl.DataFrame:
        places = frame["index"].is_in(chosen).arg_true()
        changes = {
            column: frame[column].gather(places).map_elements(rule.rewrite, return_dtype=pl.String)
            for column in columns
        }
        return frame.with_columns(frame[column].clone().scatter(places, new) for column, new in changes.items())

    if corpus.spill is None:
        records: Mapping[int, bytes] = {**corpus.rewritten, **dict(changes())}
    else:
        records = RecordsOnDisk(_newest(corpus.rewritten.items(), changes()), corpus.spill)
    return replace(
        corpus,
        turns=corpus.in_parts(lambda part: change(part.turns, "content", "calls")),
        rows=corpus.in_parts(lambda part: change(part.rows, "metadata")),
        rewritten=records,
        memo={},
    )


class RecordsOnDisk(Mapping[int, bytes]):
    """Row index -> JSON, where every row may have been changed: the text on disk, three numbers a row in memory.

    Args:
        records: in ascending order of their index.
        spill: where the text goes.
    """

    def __init__(self, records: Iterator[tuple[int, bytes]], spill: Spill) -> None:
        indexes, stops = array("I"), array("Q", [0])

        def blocks() -> Iterator[bytes]:
            size = 0
            for index, record in records:
                size += len(record)
                indexes.append(index)
                stops.append(size)
                yield record

        self._text: Bytes = spill.copy(blocks())[0]
        self._indexes, self._stops = indexes, stops

    def __getitem__(self, index: int) -> bytes:
        """The record of a row.

        Raises:
            KeyError: it was not changed.
        """
        record: bytes | None = self.get(index)
        if record is None:
            raise KeyError(index)
        return record

    def get(self, index: int, default: Any = None) -> Any:
        """The record of a row, or something else where it was not changed: asked for every row that is written."""
        place = bisect_left(self._indexes, index)
        found = place < len(self._indexes) and self._indexes[place] == index
        return self._text[self._stops[place] : self._stops[place + 1]] if found else default

    def __iter__(self) -> Iterator[int]:
        """The indexes, ascending."""
        return iter(self._indexes)

    def __len__(self) -> int:
        """Number of rows that were changed."""
        return len(self._indexes)


def _newest(old: Iterable[tuple[int, bytes]], new: Iterator[tuple[int, bytes]]) -> Iterator[tuple[int, bytes]]:
    """Two ascending lists of records as one; where both have a row, the second one's."""
    held: tuple[int, bytes] | None = None
    for index, record in merge(old, new, key=lambda item: item[0]):
        if held is not None and held[0] != index:
            yield held
        held = index, record
    if held is not None:
        yield held


def rewrite_value(value: Any, rule: Rule) -> Any:
    """A JSON value with every text in it rewritten; keys stay."""
    if isinstance(value, str):
        return rule.rewrite(value)
    if isinstance(value, dict):
        return {key: rewrite_value(item, rule) for key, item in value.items()}
    if isinstance(value, list):
        return [rewrite_value(item, rule) for item in value]
    return value
