"""Answers as labels: whether the rows of a file are a classification task, and how often each label is given."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from curate.rows import Corpus, row_keys

MAX_LABEL_CHARS = 60
MAX_LABELS = 200
MIN_ROWS_PER_LABEL = 5
"""Rows per label, on average, from which on short answers count as labels and not as free text."""


@dataclass(frozen=True)
class Labels:
    """The labels of one file."""

    source: int
    rows: int
    counts: tuple[tuple[str, int], ...]
    """(label as it first stands, rows), most frequent first, then by label."""


def labels_by_source(corpus: Corpus) -> list[Labels]:
    """The labels of each file whose answers are labels: short, and few for the number of rows.

    Files are left out in which an answer is longer than MAX_LABEL_CHARS, or the labels are too many.
    """
    return corpus.remembered("labels_by_source", lambda: _labels(corpus))


def answers(corpus: Corpus) -> pl.DataFrame:
    """`source`, `index`, `answer`, `answer_key` and `prompt` of every row that has an answer."""
    keys = row_keys(corpus).select("index", "prompt", "answer", "answer_key")
    return corpus.rows.select("index", "source").join(
        keys.filter(pl.col("answer").is_not_null()), on="index", how="inner", maintain_order="left"
    )


def _labels(corpus: Corpus) -> list[Labels]:
    found = answers(corpus).with_columns(short=pl.col("answer").str.len_chars() <= MAX_LABEL_CHARS)
    per_source = found.group_by("source", maintain_order=True).agg(
        rows=pl.len(), short=pl.col("short").all(), labels=pl.col("answer_key").n_unique()
    )
    chosen = per_source.filter(
        pl.col("short") & (pl.col("labels") <= MAX_LABELS) & (pl.col("labels") * MIN_ROWS_PER_LABEL <= pl.col("rows"))
    )
    result = []
    for source, rows in chosen.select("source", "rows").sort("source").iter_rows():
        counts = (
            found.filter(pl.col("source") == source)
            .group_by("answer_key", maintain_order=True)
            .agg(label=pl.col("answer").first().str.strip_chars(), count=pl.len())
            .sort("count", "label", descending=[True, False])
        )
        result.append(Labels(source, rows, tuple(counts.select("label", "count").iter_rows())))
    return result
