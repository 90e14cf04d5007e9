"""Rows that ask the same and are answered differently."""

from __future__ import annotations

import polars as pl

from curate.keys import row_keys
from curate.repeats import with_repeats
from curate.rows import Corpus

ANSWERED = ("chat", "prompt-completion")
"""Kinds of rows whose answer is the one to be learnt; preference and reinforcement repeat their prompts on purpose."""


def conflicting_rows(corpus: Corpus, label_chars: int) -> pl.DataFrame:
    """Rows whose prompt has more than one answer: `index`, `prompt`, `full`, `answer`, `answer_key`, `labels`.

    `labels` says that no answer to the prompt has more than `label_chars` characters: they are labels, not free text.
    """
    kinds = corpus.rows.filter(pl.col("kind").is_in(ANSWERED)).select("index")
    return (
        with_repeats(row_keys(corpus).filter(pl.all_horizontal(pl.col("prompt", "answer").is_not_null())), "prompt")
        .join(kinds, on="index", how="semi", maintain_order="left")
        .filter(pl.col("answer_key").n_unique().over("prompt") > 1)
        .with_columns(labels=pl.col("answer").str.strip_chars().str.len_chars().max().over("prompt") <= label_chars)
        .select("index", "prompt", "full", "answer", "answer_key", "labels")
    )
