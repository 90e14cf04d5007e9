"""LEK404 eval-answer."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from curate.contamination.search import hits
from curate.contamination.verdicts import Grade
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Need, Rule
from curate.rules.eval_item import ITEM
from schemas.finding import Severity

ANSWER = "The harbour was moved to the north side of the bay because the old one filled up with sand every winter."


class EvalAnswer(Rule):
    """A row that holds the answer of an eval item, without its question.

    ## What it does
    Reports rows in which at least 0.8 of a long answer of an item stands, weighted by how rare its runs of five words
    are, in any turn.

    ## Why
    Worked solutions leak as well as questions do: lists of answers, answers quoted in a discussion.

    ## Known problems
    Short answers prove nothing by themselves and are not looked for; quotations that an eval took from the same source
    are found.

    ## Source
    Separate matching of answers as in AI2's decon.
    """

    code: ClassVar[str] = "LEK404"
    name: ClassVar[str] = "eval-answer"
    severity: ClassVar[Severity] = Severity.WARNING
    needs: ClassVar[Need | None] = Need.EVALS
    help: ClassVar[str] = "look where the text is from; remove the row if it is the eval"
    fires: ClassVar[tuple[Example, ...]] = (
        Example(
            ({"prompt": "Tell me something.", "completion": f"I read this: {ANSWER} Is it not odd?"},),
            evals=({"question": "Why is the harbour where it is today?", "answer": ANSWER},),
        ),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example(({"prompt": "Count for me.", "completion": "1, 2, 3, 4, 5"},), evals=(ITEM,)),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each row with a long answer and no question."""
        return hits(corpus, (Grade.ANSWER,), "the row holds the answer of an eval item ({item})")
