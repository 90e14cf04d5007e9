"""SCH115 last-turn-not-assistant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from curate.rows import Corpus
from curate.rules.base import Action, Example, Hit, Rule
from schemas.finding import Severity


class LastTurnNotAssistant(Rule):
    """A conversation that goes on after the assistant's last answer.

    ## What it does
    Reports conversations with at least one assistant turn whose last turn is somebody else's.

    ## Why
    OpenAI's fine-tuning and LLaMA-Factory refuse such rows; elsewhere the last turn costs memory and is never trained.
    Often the real answer was cut off.

    ## Known problems
    Logs of conversations often end with a thank-you; cutting that turn keeps the row.

    ## Source
    The chat formats of OpenAI and LLaMA-Factory.
    """

    code: ClassVar[str] = "SCH115"
    name: ClassVar[str] = "last-turn-not-assistant"
    severity: ClassVar[Severity] = Severity.ERROR
    default_action: ClassVar[Action] = Action.DROP
    help: ClassVar[str] = "remove the turns after the assistant's last answer"
    fires: ClassVar[tuple[Example, ...]] = (Example.chat("a", "b", "thanks"),)
    silent: ClassVar[tuple[Example, ...]] = (Example.chat("a", "b"), Example.chat("a"), Example(({"text": "a"},)))

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each conversation with a turn after its last answer."""

        def compute(part: Corpus) -> pl.DataFrame:
            role = pl.col("role")
            ends = (
                part.turns.filter(pl.col("part") == "messages")
                .group_by("index", maintain_order=True)
                .agg(last=role.last(), turn=pl.col("turn").last(), answered=(role == "assistant").any())
            )
            return ends.filter(pl.col("answered") & pl.col("last").is_not_null() & (pl.col("last") != "assistant"))

        ends = corpus.in_parts(compute)
        for index, role, turn in ends.select("index", "last", "turn").iter_rows():
            yield Hit(index, f"the last turn is by {role[:40]!r}, not by the assistant", turn, {"found": role[:200]})
