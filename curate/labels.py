"""Answers that are a handful of labels, as in classification."""

from __future__ import annotations

import polars as pl

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
