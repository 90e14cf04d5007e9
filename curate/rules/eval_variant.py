"""LEK403 eval-variant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from curate.contamination.search import hits
from curate.contamination.verdicts import Grade
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Need, Rule
from curate.rules.eval_item import ITEM, QUESTION
from schemas.finding import Severity


class EvalVariant(Rule):
    """A row that asks what an eval item asks, with other numbers.

    ## What it does
    Reports rows that match a question, or its passage, once numbers are masked, and differ in at least one of them.

    ## Why
    Such rows teach the task, not the item: they are what synthetic training data for a benchmark looks like, and who
    reads the score should know.

    ## Known problems
    Numbers in words are words. A row in which a number was changed and the answer was not is reported here as well.

    ## Source
    GSM-Symbolic (Mirzadeh et al. 2024, arXiv:2410.05229), which measures how much scores depend on the numbers.
    """

    code: ClassVar[str] = "LEK403"
    name: ClassVar[str] = "eval-variant"
    severity: ClassVar[Severity] = Severity.WARNING
    needs: ClassVar[Need | None] = Need.EVALS
    help: ClassVar[str] = "decide whether the eval is to be new to the model in kind, or in its numbers only"
    fires: ClassVar[tuple[Example, ...]] = (
        Example(
            ({"prompt": "A shop sells 12 pens a day and 30 pads a week. How many pens are sold in 4 weeks?",
              "completion": "336"},),
            evals=({"question": "A shop sells 15 pens a day and 80 pads a week. How many pens are sold in 9 weeks?",
                    "answer": "945"},),
        ),
    )  # fmt: skip
    silent: ClassVar[tuple[Example, ...]] = (
        Example(({"prompt": QUESTION, "completion": "5"},), evals=(ITEM,)),
        Example(({"prompt": "What is 2 + 2?", "completion": "4"},), evals=(ITEM,)),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each row that is a variant and nothing worse."""
        return hits(corpus, (Grade.VARIANT,), "the row is an eval item with other numbers ({item})")
