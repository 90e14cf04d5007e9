"""Changing what rows say: redaction and repair, applied to the record itself so that no copy of the old text stays."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import polars as pl

from curate.rows import Corpus
from curate.rules.base import Rule


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
    rows = corpus.rows.filter(pl.col("index").is_in(chosen))
    for index, record in zip(rows["index"], corpus.records(rows), strict=True):
        changed = rewrite_value(record, rule)
        if changed != record:
            records[index] = orjson.dumps(changed)

    def change(frame: pl.DataFrame, *columns: str) -> pl.DataFrame:
        places = frame["index"].is_in(chosen).arg_true()
        changes = {
            column: frame[column].gather(places).map_elements(rule.rewrite, return_dtype=pl.String)
            for column in columns
        }
        return frame.with_columns(frame[column].clone().scatter(places, new) for column, new in changes.items())

    return replace(
        corpus,
        turns=corpus.in_parts(lambda part: change(part.turns, "content", "calls")),
        rows=change(corpus.rows, "metadata"),
        rewritten=records,
        memo={},
    )


def rewrite_value(value: Any, rule: Rule) -> Any:
    """A JSON value with every text in it rewritten; keys stay."""
    if isinstance(value, str):
        return rule.rewrite(value)
    if isinstance(value, dict):
        return {key: rewrite_value(item, rule) for key, item in value.items()}
    if isinstance(value, list):
        return [rewrite_value(item, rule) for item in value]
    return value
