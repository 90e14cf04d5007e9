"""PRF905 rejected-without-answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from curate.preference import answer_pairs
from curate.rows import Corpus
from curate.rules.base import Action, Example, Hit, Rule
from schemas.finding import Severity

ASKED = {"role": "user", "content": "Where is it?"}
LEFT = {"role": "assistant", "content": "Left."}


def _pair(rejected: object) -> Example:
    return Example(({"prompt": "Where is it?", "chosen": [LEFT], "rejected": rejected},))


class RejectedWithoutAnswer(Rule):
    """A preference row whose rejected side holds no answer of the assistant.

    ## What it does
    Reports rejected sides without a turn, or whose last turn is not the assistant's. The chosen side is a conversation
    like any other: no-assistant-turn and last-turn-not-assistant report it; empty text is left to empty-answer.

    ## Why
    DPO compares two answers; OpenAI refuses the row, TRL compares with nothing or with the user's words.

    ## Known problems
    None known.

    ## Source
    OpenAI's guide to direct preference optimisation: each output is one assistant message; TRL's dataset formats.
    """

    code: ClassVar[str] = "PRF905"
    name: ClassVar[str] = "rejected-without-answer"
    severity: ClassVar[Severity] = Severity.ERROR
    default_action: ClassVar[Action] = Action.DROP
    help: ClassVar[str] = "add the answer that is worse, or remove the row"
    fires: ClassVar[tuple[Example, ...]] = (
        _pair([]),
        _pair(None),
        _pair([{"role": "user", "content": "And then?"}]),
        _pair([{"role": "assistant", "content": "Right."}, {"role": "user", "content": "No."}]),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        _pair([{"role": "assistant", "content": "Right."}]),
        _pair("Right."),
        Example(({"chosen": [ASKED, LEFT], "rejected": [ASKED, {"role": "assistant", "content": "Right."}]},)),
        Example(({"prompt": "a", "completion": "b"},)),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each such row."""
        rows = corpus.rows.filter(pl.col("kind") == "preference").select("index")
        sides = answer_pairs(corpus).select("index", "rejected_turns", "rejected_end")
        ends = rows.join(sides, on="index", how="left", maintain_order="left")
        missing = pl.col("rejected_turns").fill_null(0) == 0
        for index, none, role in (
            ends.filter(missing | (pl.col("rejected_end") != "assistant"))
            .select("index", missing, "rejected_end")
            .iter_rows()
        ):
            what = "has no turn" if none else f"ends with a turn by {role[:40]!r}"
            yield Hit(index, f"the rejected side {what}", evidence={"expected": "an answer of the assistant"})
