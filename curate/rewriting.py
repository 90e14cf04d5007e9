"""Changing what rows say: redaction and repair, applied to the record itself so that no copy of the old text stays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import orjson
import polars as pl

from curate.rows import Corpus, all_texts
from curate.rules.base import Rule

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
    records = dict(corpus.rewritten)
    texts = all_texts(corpus).filter(pl.col("index").is_in(chosen)).group_by("index").agg("text")
    rewriters = {index: rule.rewriter(found) for index, found in texts.iter_rows()}
    rows = corpus.rows.filter(pl.col("index").is_in(chosen))
    for index, record in zip(rows["index"], corpus.records(rows), strict=True):
        changed = rewrite_value(record, rewriters.get(index, rule.rewrite))
        if changed != record:
            records[index] = orjson.dumps(changed)

    def change(frame: pl.DataFrame, **columns: Callable[[str, Rewrite], str]) -> pl.DataFrame:
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
        turns=corpus.in_parts(lambda part: change(part.turns, content=rewrite_text, calls=_rewrite_json)),
        rows=change(corpus.rows, metadata=_rewrite_json),
        rewritten=records,
        memo={},
    )


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
