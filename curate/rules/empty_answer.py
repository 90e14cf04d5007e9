"""SCH113 empty-answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from curate.rows import Corpus
from curate.rules.base import Action, Example, Hit, Rule, turn_hits
from curate.rules.empty_content import VISIBLE
from schemas.finding import Severity


class EmptyAnswer(Rule):
    """An assistant turn that holds nothing, or nothing that can be seen.

    ## What it does
    Reports assistant turns (and plain texts) that are empty once white space and characters without width are
    removed, and that call no tools.

    ## Why
    The only token left to learn is the end of the turn: the model learns to say nothing.

    ## Known problems
    None known.

    ## Source
    The supervised tokens of a row are those of its assistant turns (TRL, axolotl, OpenAI).
    """

    code: ClassVar[str] = "SCH113"
    name: ClassVar[str] = "empty-answer"
    severity: ClassVar[Severity] = Severity.ERROR
    default_action: ClassVar[Action] = Action.DROP
    help: ClassVar[str] = "write the answer, or remove the row"
    fires: ClassVar[tuple[Example, ...]] = (
        Example.chat("a", ""),
        Example.chat("a", " \n"),
        Example.chat("a", "\u200b"),
        Example(({"text": ""},)),
    )
    silent: ClassVar[tuple[Example, ...]] = (Example.chat("a", "b"), Example.chat("", "b"))

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each empty answer."""
        blank = corpus.turns.filter(
            ~pl.col("content").str.contains(VISIBLE)
            & pl.col("role").is_in(["assistant", "text"])
            & pl.col("calls").is_null()
        )
        return turn_hits(blank, "the assistant's turn is empty")
