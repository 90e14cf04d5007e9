"""Changing what rows say: redaction and repair, applied to the record itself so that no copy of the old text stays."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from heapq import merge
from typing import Any

import orjson
import polars as pl

from curate.rows import Corpus, all_texts
from curate.rules.base import Rule
from curate.spill import Bytes, Spill

Rewrite = Callable[[str], str]


def rewritten(corpus: Corpus, rule: Rule, indexes: pl.Series) -> Corpus:
    """The corpus with a rule's rewriting applied to every text of the rows named: turns, calls, metadata, record.

    Row ids stay those of the rows as they came in, so that they can be traced.

    Args:
        corpus: readable rows.
        rule: a rule that overrides `rewrite`.
        indexes: which rows; rows in which nothing changes are left as they are.
    """
    chosen = indexes.implode()
    changes = corpus.in_parts(lambda part: _changed_records(part, rule, chosen)).iter_rows()
    if corpus.spill is None:
        records: Mapping[int, bytes] = {**corpus.rewritten, **dict(changes)}
    else:
        records = RecordsOnDisk(_newest(corpus.rewritten.items(), changes), corpus.spill)

    def change(part: Corpus, frame: pl.DataFrame, **columns: Callable[[str, Rewrite], str]) -> pl.DataFrame:
        rewriters = _rewriters(part, rule, chosen)
        places = frame["index"].is_in(chosen).arg_true()
        found = frame["index"].gather(places).to_list()
        series = []
        for column, rewrite in columns.items():
            pairs = zip(found, frame[column].gather(places).to_list(), strict=True)
            new = [None if text is None else rewrite(text, rewriters[index]) for index, text in pairs]
            series.append(frame[column].clone().scatter(places, pl.Series(new, dtype=pl.String)))
        return frame.with_columns(series)

    return replace(
        corpus,
        turns=corpus.in_parts(lambda part: change(part, part.turns, content=rewrite_text, calls=_rewrite_json)),
        rows=corpus.in_parts(lambda part: change(part, part.rows, metadata=_rewrite_json)),
        rewritten=records,
        memo={},
    )


def _rewriters(part: Corpus, rule: Rule, chosen: pl.Expr | pl.Series) -> dict[int, Rewrite]:
    """How each of the chosen rows of a part is rewritten, which may depend on all that it says."""
    texts = all_texts(part).filter(pl.col("index").is_in(chosen)).group_by("index").agg("text")
    return {index: rule.rewriter(found) for index, found in texts.iter_rows()}


def _changed_records(part: Corpus, rule: Rule, chosen: pl.Expr | pl.Series) -> pl.DataFrame:
    """`index` and `record` as JSON, of the chosen rows of a part that change."""
    rewriters = _rewriters(part, rule, chosen)
    rows = part.rows.filter(pl.col("index").is_in(chosen))
    found = []
    for index, record in zip(rows["index"], part.records(rows), strict=True):
        changed = rewrite_value(record, rewriters.get(index, rule.rewrite))
        if changed != record:
            found.append((index, orjson.dumps(changed)))
    return pl.DataFrame(found, schema={"index": pl.UInt32, "record": pl.Binary}, orient="row")


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


def rewrite_value(value: Any, rewrite: Rewrite) -> Any:
    """A JSON value with every text, number and key in it rewritten.

    A number becomes text where rewriting changes it. A key that comes to equal another one gets a number behind it, so
    that no entry is lost.
    """
    if isinstance(value, str):
        return rewrite_text(value, rewrite)
    if isinstance(value, dict):
        changed: dict[str, Any] = {}
        taken = set(value)
        for key, item in value.items():
            name = base = rewrite(key)
            tries = 1
            while name in changed or (name != key and name in taken):
                tries += 1
                name = f"{base}-{tries}"
            changed[name] = rewrite_value(item, rewrite)
        return changed
    if isinstance(value, list):
        return [rewrite_value(item, rewrite) for item in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        spelt = orjson.dumps(value).decode()
        said = rewrite(spelt)
        return value if said == spelt else said
    return value


def rewrite_text(text: str, rewrite: Rewrite) -> str:
    """A text rewritten; one that is JSON, such as the arguments of a tool call, stays JSON and if possible as laid out.

    A value that was a bare number becomes a string.
    """
    said = rewrite(text)
    if not text.lstrip().startswith(("{", "[")):
        return said
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        return said
    wanted = rewrite_value(value, rewrite)
    if wanted == value and said == text:
        return text
    if _reads_as(said, wanted):
        return said
    return orjson.dumps(wanted, option=orjson.OPT_INDENT_2 if "\n" in text else None).decode()


def _reads_as(text: str, value: Any) -> bool:
    """Whether a text is JSON of a value; it is none where a bare number was replaced."""
    try:
        return bool(orjson.loads(text) == value)
    except orjson.JSONDecodeError:
        return False


def _rewrite_json(text: str, rewrite: Rewrite) -> str:
    return orjson.dumps(rewrite_value(orjson.loads(text), rewrite)).decode()
