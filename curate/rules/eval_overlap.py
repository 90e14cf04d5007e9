"""LEK405 eval-overlap."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from curate.contamination.search import hits
from curate.contamination.verdicts import Grade
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Need, Rule
from curate.rules.eval_item import ITEM
from schemas.finding import Severity


class EvalOverlap(Rule):
    """A row that shares much with an eval item and is not the item.

    ## What it does
    Reports rows that hold about half of a question or more, but differ where edits do not explain it, or give another
    answer to the same short question.

    ## Why
    This is where the search could err: a shared template, a common source, or an item that was rewritten by hand.

    ## Known problems
    Most of these rows are harmless, so the finding is a note.

    ## Source
    The region below the threshold that reviews of contamination reports ask for.
    """

    code: ClassVar[str] = "LEK405"
    name: ClassVar[str] = "eval-overlap"
    severity: ClassVar[Severity] = Severity.INFO
    needs: ClassVar[Need | None] = Need.EVALS
    help: ClassVar[str] = "compare the two by eye if the eval matters"
    fires: ClassVar[tuple[Example, ...]] = (
        Example(
            ({"prompt": "A farmer has twelve sheep and sells all but five of them at the market. What does he do with "
              "the money that he gets, and will his wife agree?", "completion": "He buys a plough."},),
            evals=(ITEM,),
        ),
    )  # fmt: skip
    silent: ClassVar[tuple[Example, ...]] = (
        Example(({"prompt": "How many sheep are there in Wales?", "completion": "Millions."},), evals=(ITEM,)),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each row with such an overlap and nothing worse."""
        return hits(corpus, (Grade.PARTIAL,), "the row holds {share:.2f} of the question of an eval item ({item})")
