"""SCH112 empty-content."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from curate.rows import Corpus
from curate.rules.base import Example, Hit, Rule, turn_hits
from schemas.finding import Severity

VISIBLE = r"[^\s\u{200b}\u{2060}\u{feff}]"
"""Anything but white space and characters without width."""


class EmptyContent(Rule):
    """A prompt turn that holds nothing, or nothing that can be seen.

    ## What it does
    Reports turns of any role but assistant whose text is empty once white space and characters without width are
    removed.

    ## Why
    The model learns to answer nothing in particular; often a field was lost on the way.

    ## Known problems
    An empty system turn is harmless with most chat templates.

    ## Source
    Row reviews of public chat sets, where such rows are a sign of failed extraction.
    """

    code: ClassVar[str] = "SCH112"
    name: ClassVar[str] = "empty-content"
    severity: ClassVar[Severity] = Severity.WARNING
    help: ClassVar[str] = "look at the source of the row: was a field lost? Otherwise remove the turn or the row"
    fires: ClassVar[tuple[Example, ...]] = (Example.chat("", "b"), Example.chat(" \n\t", "b"))
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("a", "b"),
        Example.chat("a", ""),
        Example(({"prompt": "2+2?", "reference": ""},)),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each empty turn."""
        blank = corpus.turns.filter(
            ~pl.col("content").str.contains(VISIBLE)
            & ~pl.col("role").is_in(["assistant", "text"])
            & (pl.col("part") != "reference")
            & pl.col("calls").is_null()
        )
        return turn_hits(blank, "the turn is empty")
