"""TOK703 end-of-turn-not-trained."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from curate.row_tokens import row_tokens
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Need, Rule
from schemas.finding import Severity


class EndOfTurnNotTrained(Rule):
    """A row that does not teach the model to stop.

    ## What it does
    Renders each row with the chat template of `--model` and reports rows in which a trained turn does not end in a
    special token that carries loss.

    ## Why
    A model that never learned the end-of-turn token goes on writing until the length limit, or answers for the user.

    ## Known problems
    It is the template that does or does not write the token, so the rule fires on all rows or on none, but for
    templates that treat some turns differently. A template whose end of turn is ordinary text is reported as well.

    ## Source
    The end-of-turn tokens of published chat templates; issues about endless generation in every large trainer.
    """

    code: ClassVar[str] = "TOK703"
    name: ClassVar[str] = "end-of-turn-not-trained"
    severity: ClassVar[Severity] = Severity.WARNING
    needs: ClassVar[Need | None] = Need.MODEL
    help: ClassVar[str] = "use a chat template that ends the assistant's turns with the end-of-turn token"
    fires: ClassVar[tuple[Example, ...]] = (Example(Example.chat("Hi", "Hello").lines, template="endless"),)
    silent: ClassVar[tuple[Example, ...]] = (Example(Example.chat("Hi", "Hello").lines, template="chatml"),)

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each row whose trained turns do not all end in a trained special token."""
        for (index,) in row_tokens(corpus).filter(pl.col("ends").not_()).select("index").iter_rows():
            yield Hit(index, "no end-of-turn token is trained: the model does not learn to stop")
