"""The assistant's turns beside what was asked: what the rules about answers look at."""

from __future__ import annotations

import re
import string
from collections.abc import Iterator

import polars as pl

from curate.literals import beyond_ascii
from curate.rows import Corpus

FENCED = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
INLINE = re.compile(r"`[^`\n]{1,2000}`")
FENCE = r"(?s)```.*?(?:```|\z)"
"""A block of code, closed or not, for polars."""
BASE64 = f"{string.ascii_letters}{string.digits}+/=_-"
RUN_CHARS = 256
"""Length of an unbroken run from which on a turn is odd."""
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


def foreign_turns(corpus: Corpus) -> pl.DataFrame:
    """Turns of any role that are not pure ASCII: `index`, `turn`, `content`."""
    return corpus.remembered("beyond_ascii", lambda: beyond_ascii(corpus.turns)).select("index", "turn", "content")


def odd_turns(corpus: Corpus) -> pl.DataFrame:
    """Turns with a control character of ASCII or a run of `RUN_CHARS` characters of base64, found in one pass."""

    def compute() -> pl.DataFrame:
        content = corpus.turns["content"]
        if corpus.is_large:
            from curate.dedup.odd_texts import odd_texts

            odd = odd_texts(content, map(ord, BASE64), RUN_CHARS)
        else:
            odd = content.str.contains(rf"[\x00-\x08\x0b\x0e-\x1f\x7f]|[{BASE64}]{{{RUN_CHARS}}}")
        return corpus.turns.filter(odd).select("index", "turn", "content")

    return corpus.remembered("odd_turns", compute)


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
