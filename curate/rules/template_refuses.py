"""TOK708 template-refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from curate.row_tokens import row_tokens
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Need, Rule
from schemas.finding import Severity


class TemplateRefuses(Rule):
    """A row that the model's chat template does not take.

    ## What it does
    Renders each row with the chat template of `--model`, in a sandbox, and reports rows on which it raises an error,
    with its own words.

    ## Why
    A trainer stops at the first such row, or drops it.

    ## Known problems
    Some templates take almost anything, and others refuse what their model could learn: this is the template's opinion.

    ## Source
    `raise_exception` in published chat templates; transformers' `apply_chat_template`.
    """

    code: ClassVar[str] = "TOK708"
    name: ClassVar[str] = "template-refuses"
    severity: ClassVar[Severity] = Severity.ERROR
    needs: ClassVar[Need | None] = Need.MODEL
    help: ClassVar[str] = "put the turns into the order that the template asks for, or drop the row"
    fires: ClassVar[tuple[Example, ...]] = (
        Example(
            ({"messages": [{"role": r, "content": "x"} for r in ("user", "user", "assistant")]},), template="strict"
        ),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example(Example.chat("Hi", "Hello", "Bye", "So long").lines, template="strict"),
        Example(
            ({"messages": [{"role": r, "content": "x"} for r in ("user", "user", "assistant")]},), template="chatml"
        ),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each row that the template refuses."""
        refused = row_tokens(corpus).filter(pl.col("reason") == "template")
        for index, found in refused.select("index", "found").iter_rows():
            yield Hit(index, f"the chat template refuses the row: {found}", None, {"found": found}, detail=found)
