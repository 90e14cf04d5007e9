"""SCH134 several-instructions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from curate.rows import Corpus
from curate.rules.base import Example, Hit, Rule
from schemas.finding import Severity

INSTRUCTIONS = ("system", "developer")


def _roles(*roles: str) -> Example:
    return Example(({"messages": [{"role": role, "content": "x"} for role in roles]},))


class SeveralInstructions(Rule):
    """A conversation that begins with more than one turn of instructions.

    ## What it does
    Reports the second of two neighbouring system or developer turns. Instructions after the conversation began are
    left to role-order.

    ## Why
    Many chat templates print the first system turn only, or stop at the second: the rest is not trained. Developer is
    OpenAI's newer name for system; a row with both is one of two conventions mixed up.

    ## Known problems
    ChatML templates print every system turn.

    ## Source
    The chat templates of Llama, Mistral and Gemma; OpenAI's model spec, on developer messages.
    """

    code: ClassVar[str] = "SCH134"
    name: ClassVar[str] = "several-instructions"
    severity: ClassVar[Severity] = Severity.WARNING
    help: ClassVar[str] = "join the instructions in one system turn"
    fires: ClassVar[tuple[Example, ...]] = (
        _roles("system", "system", "user", "assistant"),
        _roles("system", "developer", "user", "assistant"),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        _roles("system", "user", "assistant"),
        _roles("developer", "user", "assistant"),
        _roles("system", "user", "system", "assistant"),
        Example(tuple({"messages": [{"role": "system", "content": "x"}]} for _ in range(2))),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each conversation, at its second turn of instructions."""
        # Only instructions are kept before neighbours are compared: few turns of few rows.
        instructs = pl.col("role").is_in(INSTRUCTIONS) & (pl.col("part") == "messages")
        turns = corpus.turns.lazy().filter(instructs).select("index", "turn", "role")
        follows = (pl.col("index") == pl.col("index").shift(1)) & (pl.col("turn") == pl.col("turn").shift(1) + 1)
        found = turns.with_columns(before=pl.col("role").shift(1)).filter(follows).unique("index", keep="first")
        for index, turn, role, before in found.sort("index").collect().iter_rows():
            what = "two system turns" if role == before == "system" else f"a {before} turn and a {role} turn"
            yield Hit(index, f"{what} follow each other", turn, {"found": what, "expected": "one turn of instructions"})
