"""Answers that are a handful of labels, as in classification."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from curate.keys import row_keys
from curate.rows import Corpus

LABEL_CHARS = 32
MAX_LABELS = 20
MIN_ROWS_A_LABEL = 5
"""Fewer rows on average under each answer, and the answers are no labels."""
LABELLED = 0.9
"""Share of the rows that labels cover; a few odd answers among labels are what one wants to see."""


def labels_of(answers: pl.Series) -> tuple[str, ...]:
    """The labels in order, if every answer is one; none otherwise.

    Args:
        answers: texts without nulls.
    """
    counts = answers.value_counts().sort(answers.name)
    values = counts[answers.name].to_list()
    few = 2 <= len(values) <= min(MAX_LABELS, len(answers) / MIN_ROWS_A_LABEL)
    short = all(value == value.strip() and 0 < len(value) <= LABEL_CHARS for value in values)
    return tuple(values) if few and short else ()


def label_counts(answers: pl.Series) -> dict[str, int]:
    """Label -> answers, the most frequent first, then all others; empty where answers are no labels.

    Args:
        answers: texts without nulls.
    """
    short = answers.filter(answers.str.len_bytes() <= 4 * LABEL_CHARS)
    if not len(answers) or len(short) < LABELLED * len(answers):
        return {}
    counts = short.value_counts().sort(["count", answers.name], descending=[True, False])
    counts = counts.filter((pl.col(answers.name).str.len_chars() <= LABEL_CHARS) & (pl.col("count") > 1))
    top = counts.head(MAX_LABELS)
    covered = int(top["count"].sum())
    if top.height < 2 or covered < max(LABELLED * len(answers), MIN_ROWS_A_LABEL * top.height):
        return {}
    found = dict(top.iter_rows())
    return found | {"(other answers)": len(answers) - covered} if covered < len(answers) else found


# ------------------------------------------------------------------------------------------------------- file by file

FILE_LABEL_CHARS = 60
FILE_LABELS = 200


@dataclass(frozen=True)
class Labels:
    """The labels of one file."""

    source: int
    rows: int
    counts: tuple[tuple[str, int], ...]
    """(label as it first stands, rows), most frequent first, then by label."""


def labels_by_source(corpus: Corpus) -> list[Labels]:
    """The labels of each file whose answers are labels: short, and few for the number of rows.

    Files are left out in which an answer is longer than FILE_LABEL_CHARS, or the labels are too many.
    """
    return corpus.remembered("labels_by_source", lambda: _labels(corpus))


def row_answers(corpus: Corpus) -> pl.DataFrame:
    """`source`, `index`, `answer`, `answer_key` and `prompt` of every row that has an answer."""
    keys = row_keys(corpus).select("index", "prompt", "answer", "answer_key")
    return corpus.rows.select("index", "source").join(
        keys.filter(pl.col("answer").is_not_null()), on="index", how="inner", maintain_order="left"
    )


def _labels(corpus: Corpus) -> list[Labels]:
    found = row_answers(corpus).with_columns(short=pl.col("answer").str.len_chars() <= FILE_LABEL_CHARS)
    per_source = found.group_by("source", maintain_order=True).agg(
        rows=pl.len(), short=pl.col("short").all(), labels=pl.col("answer_key").n_unique()
    )
    chosen = per_source.filter(
        pl.col("short") & (pl.col("labels") <= FILE_LABELS) & (pl.col("labels") * MIN_ROWS_A_LABEL <= pl.col("rows"))
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
