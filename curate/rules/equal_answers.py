"""PRF901 equal-answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from curate.preference import BLANK, answer_pairs
from curate.rows import Corpus
from curate.rules.base import Action, Example, Hit, Rule
from schemas.finding import Severity


def _pair(chosen: object, rejected: object) -> Example:
    return Example(({"prompt": "Where is it?", "chosen": chosen, "rejected": rejected},))


class EqualAnswers(Rule):
    """A preference row whose chosen answer is the rejected one.

    ## What it does
    Reports rows with two equal answers. Answers that differ in case and white space alone are a warning.

    ## Why
    The pair prefers nothing: its gradient is zero in DPO, and its margin lowers every average that is watched. Mostly a
    column was copied.

    ## Known problems
    Where the pairs teach to write without line breaks or capitals, such a difference is the point.

    ## Source
    Rafailov et al. 2023, arXiv:2305.18290: the loss depends on the difference of the two log-likelihoods alone.
    """

    code: ClassVar[str] = "PRF901"
    name: ClassVar[str] = "equal-answers"
    severity: ClassVar[Severity] = Severity.ERROR
    default_action: ClassVar[Action] = Action.DROP
    help: ClassVar[str] = "remove the row, or find the answer that was meant"
    fires: ClassVar[tuple[Example, ...]] = (
        _pair("On the left.", "On the left."),
        _pair("On the left.", "on the  left."),
        _pair([{"role": "assistant", "content": "Left."}], [{"role": "assistant", "content": "Left."}]),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        _pair("On the left.", "On the right."),
        _pair("4", "5"),
        _pair("", ""),
        Example(({"prompt": "a", "completion": "a"},)),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each such row."""
        same = (pl.col("chosen_key") == pl.col("rejected_key")) & ~pl.col("chosen").str.contains(BLANK)
        for index, chosen, rejected in answer_pairs(corpus).filter(same)["index", "chosen", "rejected"].iter_rows():
            exact = chosen == rejected
            message = "the chosen answer is the rejected one"
            yield Hit(
                index,
                message if exact else f"{message}, but for case and white space",
                evidence={"measure": "exact" if exact else "normalised"},
                severity=None if exact else Severity.WARNING,
            )
