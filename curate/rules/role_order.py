"""SCH116 role-order."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from curate.rows import Corpus
from curate.rules.base import Example, Hit, Rule
from schemas.finding import Severity


class RoleOrder(Rule):
    """Turns in an order that strict chat templates refuse.

    ## What it does
    Reports the first turn of a conversation that breaks one of three rules: system turns stand at the beginning; the
    first turn that is not an instruction is the user's; no two user turns and no two assistant turns follow each other.
    Turns of tools may stand between assistant turns.

    ## Why
    The templates of Mistral, Gemma and Llama 2 raise an error on such rows, and LLaMA-Factory drops them.

    ## Known problems
    Models with tolerant templates (ChatML) train on such rows without trouble; the rule is a warning for that reason.

    ## Source
    The chat templates named above, as published with the models.
    """

    code: ClassVar[str] = "SCH116"
    name: ClassVar[str] = "role-order"
    severity: ClassVar[Severity] = Severity.WARNING
    help: ClassVar[str] = "join neighbouring turns of one speaker, and put instructions first"
    fires: ClassVar[tuple[Example, ...]] = (
        Example.chat("hello", "hi", "there", role="assistant"),
        Example(({"messages": [{"role": role, "content": "x"} for role in ("user", "user", "assistant")]},)),
        Example(({"messages": [{"role": role, "content": "x"} for role in ("user", "system", "assistant")]},)),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("a", "b", "c", "d"),
        Example(({"messages": [{"role": role, "content": "x"} for role in ("system", "user", "assistant")]},)),
        Example(({"messages": [{"role": r, "content": "x"} for r in ("user", "assistant", "tool", "assistant")]},)),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each conversation out of order, at the first turn that is."""
        role, before = pl.col("role"), pl.col("role").shift(1)
        instructs = role.is_in(["system", "developer"])
        same = pl.col("index") == pl.col("index").shift(1)
        instructed = before.is_in(["system", "developer"])
        opens = ~instructs & (~same.fill_null(False) | instructed)
        wrong = (
            pl.when(same & instructs & ~instructed)
            .then(pl.lit("instructions come after the conversation began"))
            .when(opens & (role == "assistant"))
            .then(pl.lit("the assistant speaks first"))
            .when(same & (role == before) & role.is_in(["user", "assistant"]))
            .then(pl.format("two turns in a row by the {}", role))
        )

        def compute(part: Corpus) -> pl.DataFrame:
            chats = part.rows.filter(pl.col("kind") == "chat").select("index")
            turns = part.turns.filter((pl.col("part") == "messages") & role.is_not_null()).join(
                chats, on="index", how="semi", maintain_order="left"
            )
            found = turns.select("index", "turn", wrong=wrong).filter(pl.col("wrong").is_not_null())
            return found.unique("index", keep="first", maintain_order=True)

        for index, turn, message in corpus.in_parts(compute).iter_rows():
            yield Hit(index, message, turn)
