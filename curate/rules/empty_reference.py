"""SCH136 empty-reference."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from curate.rows import Corpus
from curate.rules.base import Action, Example, Hit, Rule, turn_hits
from curate.rules.empty_content import VISIBLE
from schemas.finding import Severity


class EmptyReference(Rule):
    """A row for a reward function whose reference answer is empty.

    ## What it does
    Reports references that are null, an empty list or object, or text without anything that can be seen.

    ## Why
    A reward function that compares with nothing gives every answer the same reward, or the empty answer the best one.

    ## Known problems
    None known.

    ## Source
    TRL's GRPO trainer hands the reference column to the reward functions as it is.
    """

    code: ClassVar[str] = "SCH136"
    name: ClassVar[str] = "empty-reference"
    severity: ClassVar[Severity] = Severity.ERROR
    default_action: ClassVar[Action] = Action.DROP
    help: ClassVar[str] = "write the reference answer, or remove the row"
    fires: ClassVar[tuple[Example, ...]] = (
        Example(({"prompt": "2+2?", "reference": ""},)),
        Example(({"prompt": "2+2?", "ground_truth": " \n"},)),
        Example(({"prompt": "2+2?", "solution": None},)),
        Example(({"prompt": "2+2?", "reference": []},)),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example(({"prompt": "2+2?", "reference": "4"},)),
        Example(({"prompt": "2-2?", "reference": 0},)),
        Example(({"prompt": "Is it?", "reference": False},)),
        Example(({"prompt": "a", "completion": ""},)),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each empty reference."""
        content = pl.col("content")
        empty = ~content.str.contains(VISIBLE) | content.is_in(["null", "[]", "{}", '""'])
        return turn_hits(corpus.turns.filter((pl.col("part") == "reference") & empty), "the reference answer is empty")
