"""SCH114 no-assistant-turn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from curate.rows import Corpus
from curate.rules.base import Action, Example, Hit, Rule
from schemas.finding import Severity

ANSWERED_KINDS = ("chat", "prompt-completion", "preference", "feedback")


class NoAssistantTurn(Rule):
    """A conversation in which the assistant says nothing.

    ## What it does
    Reports conversations without any assistant turn.

    ## Why
    Nothing in the row is trained: its labels are all masked, and a batch of such rows gives a loss of zero or NaN.

    ## Known problems
    Rows for reinforcement learning carry a prompt and a reference answer; give them those field names.

    ## Source
    OpenAI's data preparation notebook, check `example_missing_assistant_message`.
    """

    code: ClassVar[str] = "SCH114"
    name: ClassVar[str] = "no-assistant-turn"
    severity: ClassVar[Severity] = Severity.ERROR
    default_action: ClassVar[Action] = Action.DROP
    help: ClassVar[str] = "add the assistant's answer, or remove the row"
    fires: ClassVar[tuple[Example, ...]] = (Example.chat("a"), Example(({"messages": []},)))
    silent: ClassVar[tuple[Example, ...]] = (Example.chat("a", "b"), Example(({"text": "a"},)))

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each conversation without an answer."""

        def compute(part: Corpus) -> pl.DataFrame:
            answered = part.turns.filter((pl.col("role") == "assistant") & (pl.col("part") == "messages"))
            rows = part.rows.filter(pl.col("kind").is_in(ANSWERED_KINDS)).select("index")
            return rows.join(answered, on="index", how="anti", maintain_order="left")

        for index in corpus.in_parts(compute)["index"]:
            yield Hit(index, "the assistant says nothing in this row")
