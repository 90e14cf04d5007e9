"""SCH111 unknown-role."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from curate.rows import Corpus
from curate.rules.base import Action, Example, Hit, Rule
from schemas.finding import Severity
from schemas.records import ROLES

OURS = ("reference", "text")


class UnknownRole(Rule):
    """A turn by a speaker that no chat template knows.

    ## What it does
    Reports roles other than system, developer, user, assistant, tool and function. The roles of ShareGPT (human, gpt,
    observation, ...) are translated before, but only in rows of that shape.

    ## Why
    Chat templates drop such a turn without a word, or fail; a "bot" turn meant as the answer is then not trained.

    ## Known problems
    A role that the template of one model defines for itself is reported too.

    ## Source
    OpenAI's data preparation notebook, check `unrecognized_role`; the templates of current open models.
    """

    code: ClassVar[str] = "SCH111"
    name: ClassVar[str] = "unknown-role"
    severity: ClassVar[Severity] = Severity.ERROR
    default_action: ClassVar[Action] = Action.DROP
    help: ClassVar[str] = "rename the role: user for people, assistant for the model, system for instructions"
    fires: ClassVar[tuple[Example, ...]] = (
        Example(({"messages": [{"role": "human", "content": "a"}, {"role": "assistant", "content": "b"}]},)),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("a", "b"),
        Example(({"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},)),
        Example(({"text": "a"},)),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each turn of an unknown role."""
        strange = corpus.turns.filter(pl.col("role").is_not_null() & ~pl.col("role").is_in([*ROLES, *OURS]))
        for index, turn, role in strange.select("index", "turn", "role").iter_rows():
            shown = repr(role[:40])
            evidence = {"found": role[:200], "expected": ", ".join(ROLES)}
            yield Hit(index, f"unknown role {shown}", turn, evidence, detail=role[:200])
