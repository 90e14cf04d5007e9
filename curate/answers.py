"""The assistant's turns beside what was asked: what the rules about answers look at."""

from __future__ import annotations

import re
from collections.abc import Iterator

import polars as pl

from curate.rows import Corpus

FENCED = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
INLINE = re.compile(r"`[^`\n]{1,2000}`")
FENCE = r"(?s)```.*?(?:```|\z)"
"""A block of code, closed or not, for polars."""
SHOWN_CHARS = 80


def answers(corpus: Corpus) -> pl.DataFrame:
    """Every turn of an assistant that says something, in the order of the rows; rejected answers are left out.

    Columns: `index`, `turn`, `content`, `calls`, and `prompt`: the last user turn before it in the same row, null where
    there is none.
    """

    def compute() -> pl.DataFrame:
        asked = pl.col("role") == "user"
        turns = corpus.turns.filter(
            (pl.col("part") != "rejected") & (asked | (pl.col("role") == "assistant")) & pl.col("content").is_not_null()
        )
        turns = turns.with_columns(
            prompt=pl.when(asked).then("content").forward_fill(), asked_in=pl.when(asked).then("index").forward_fill()
        )
        return turns.filter(pl.col("role") == "assistant").select(
            "index", "turn", "content", "calls", prompt=pl.when(pl.col("asked_in") == pl.col("index")).then("prompt")
        )

    return corpus.remembered("answers", compute)


def each_answer(found: pl.DataFrame) -> Iterator[tuple[int, int, str, str]]:
    """`index`, `turn`, `content`, `prompt` of the few answers that a prefilter left; no prompt is an empty one."""
    for index, turn, content, prompt in found.select("index", "turn", "content", "prompt").iter_rows():
        yield index, turn, content, prompt or ""


def without_code(text: str) -> str:
    """The text less its blocks of code and its inline code."""
    return INLINE.sub(" ", FENCED.sub("\n", text))


def excerpt(text: str) -> str:
    """The beginning of a text on one line, for evidence."""
    line = " ".join(text[: SHOWN_CHARS * 4].split())
    return line if len(line) <= SHOWN_CHARS else line[: SHOWN_CHARS - 1] + "…"
