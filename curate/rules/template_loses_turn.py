"""TOK707 template-loses-turn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from curate.row_tokens import row_tokens
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Need, Rule
from schemas.finding import Severity


class TemplateLosesTurn(Rule):
    """A row of which the chat template leaves a turn out, or writes it in another place.

    ## What it does
    Renders each row with the chat template of `--model` and looks for the content of each turn, in order; reports the
    first turn whose content is not there, or stands before that of an earlier turn.

    ## Why
    Templates skip roles they do not know, move system prompts and cut reasoning without a word; the model is then
    trained on another conversation than the one that was curated.

    ## Known problems
    A content that also occurs elsewhere in the row (a single word) hides its own loss. Templates that write the system
    prompt with the last question, as Mistral's do, are reported for conversations of several turns: that is what they
    do.

    ## Source
    The published chat templates of Gemma, Mistral, Qwen and DeepSeek.
    """

    code: ClassVar[str] = "TOK707"
    name: ClassVar[str] = "template-loses-turn"
    severity: ClassVar[Severity] = Severity.WARNING
    needs: ClassVar[Need | None] = Need.MODEL
    help: ClassVar[str] = "use roles that the template knows, or another template"
    fires: ClassVar[tuple[Example, ...]] = (
        Example(
            (
                {
                    "messages": [
                        {"role": "developer", "content": "Be brief."},
                        {"role": "user", "content": "Hi"},
                        {"role": "assistant", "content": "Hello"},
                    ]
                },
            ),
            template="deaf",
        ),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example(Example.chat("  Hi ", "Hello", "Who are you?", "A model").lines, template="deaf"),
        Example(
            ({"messages": [{"role": r, "content": r} for r in ("developer", "user", "assistant")]},), template="chatml"
        ),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each row that loses a turn."""
        lost = row_tokens(corpus).filter(pl.col("lost_turn").is_not_null())
        for index, turn, how in lost.select("index", "lost_turn", "lost").iter_rows():
            what = "leaves the turn out" if how == "dropped" else f"writes the turn {how}"
            yield Hit(index, f"the chat template {what}", turn, {"how": how}, detail=how)
