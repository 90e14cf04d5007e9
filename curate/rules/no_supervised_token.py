"""TOK702 no-supervised-token."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from curate.row_tokens import row_tokens
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Need, Rule
from schemas.finding import Severity

REASONS = {
    "no-assistant-turn": "there is no assistant turn",
    "no-supervised-token": "no turn carries loss",
    "straddling-token": "the prompt and the answer share a token",
    "not-a-prefix": "the template changes the prompt once the answer follows",
    "not-unicode": "the row holds half of a surrogate pair",
}
"""Reasons of `Supervisor.encode_rows`; what the template refuses has a rule of its own."""


class NoSupervisedToken(Rule):
    """A row that leaves the model nothing to learn.

    ## What it does
    Renders each row with the chat template of `--model`, finds the tokens that carry loss (the assistant's turns with
    the token that ends them, turns of weight 0 left out) and reports rows that have none, or whose tokens cannot be
    told from the prompt's.

    ## Why
    Such a row takes part in a batch with a loss of zero or of NaN. It is the most frequent reason for a training run
    that teaches nothing, and trainers hide it behind an average.

    ## Known problems
    A template that rewrites earlier turns (hidden reasoning that is left out later) fails whole conversations that
    could be trained turn by turn.

    ## Source
    The label -100 of PyTorch's cross entropy; `assistant_only_loss` of TRL.
    """

    code: ClassVar[str] = "TOK702"
    name: ClassVar[str] = "no-supervised-token"
    severity: ClassVar[Severity] = Severity.ERROR
    needs: ClassVar[Need | None] = Need.MODEL
    help: ClassVar[str] = "give the row an answer that carries loss, or drop it"
    fires: ClassVar[tuple[Example, ...]] = (
        Example(({"messages": [{"role": "user", "content": "Hi"}]},), template="chatml"),
        Example(
            (
                {
                    "messages": [
                        {"role": "user", "content": "Hi"},
                        {"role": "assistant", "content": "Hello", "weight": 0},
                    ]
                },
            ),
            template="chatml",
        ),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example(Example.chat("Hi", "Hello").lines, template="chatml"),
        Example(({"prompt": "2 + 2 =", "completion": " 4"},), template="chatml"),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each row without a token to learn from."""
        rows = row_tokens(corpus).filter(pl.col("reason").is_in(list(REASONS)) | (pl.col("supervised") == 0))
        reasons = pl.col("reason").fill_null("no-supervised-token")
        for index, reason, found in rows.select("index", reasons, "found").iter_rows():
            message = f"nothing of the row is trained: {REASONS[reason]}"
            yield Hit(index, message, None, {"reason": reason, "found": found or ""}, detail=reason)
