"""LEK401 eval-item."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from curate.contamination.search import hits
from curate.contamination.verdicts import GATING
from curate.rows import Corpus
from curate.rules.base import Action, Example, Hit, Need, Rule
from schemas.finding import Severity

QUESTION = "A farmer has twelve sheep and sells all but five of them at the market. How many sheep does he still have?"
ITEM = {"question": QUESTION, "answer": "He sells seven, so he has 5 sheep.\n#### 5"}


class EvalItem(Rule):
    """A row that holds an eval item: its question, as it stands or edited, with or without its answer.

    ## What it does
    Compares every turn of every row with every eval item. Words count, not case, punctuation, Markdown, LaTeX or the
    order of choices. A row is reported if it holds a whole question: of eight words or more, or with its answer, its
    choices or its passage, or as a turn, a line or a sentence of its own if neither row nor item has a short answer to
    compare. So is one with an edited question: its words are aligned with those of the row, and must hold 0.7 to 0.75
    of its weight, with at most four of any eight words missing and hardly any at its ends; a question of fewer than
    twenty words with another answer is no edit. Runs that more than 1% of the rows hold, or half of the items of a set,
    are wording that counts for nothing.

    ## Why
    A model trained on the questions it is judged by gets a score that says nothing.

    ## Known problems
    A question that many people ask in the same words is reported; it is a question of the eval nonetheless. Paraphrases
    in other words and translations are not found. An item that consists of the data's own wording is compared as a
    whole only, which `eval-unscanned` says.

    ## Source
    The weights of AI2's decon, the coverage of the Tulu 3 report (arXiv:2411.15124) and the longest match of ConTAM
    (arXiv:2411.03923): all three are in the evidence, the weighted share of aligned words decides.
    """

    code: ClassVar[str] = "LEK401"
    name: ClassVar[str] = "eval-item"
    severity: ClassVar[Severity] = Severity.ERROR
    default_action: ClassVar[Action] = Action.DROP
    needs: ClassVar[Need | None] = Need.EVALS
    help: ClassVar[str] = "remove the row from training; `assay curate` drops it"
    fires: ClassVar[tuple[Example, ...]] = (
        Example(
            ({"prompt": "how many  legs have six spiders", "completion": "They have 48 legs."},),
            evals=({"question": "How many legs have six spiders?", "answer": "48"},),
        ),
        Example(
            ({"prompt": f"Solve this step by step, please. {QUESTION} Think!", "completion": "There are 5."},),
            evals=(ITEM,),
        ),
        Example(
            Example.chat("Riddle me.\n**2 + 2 = ?**", "4").lines,
            evals=({"question": "2+2=?", "answer": 4},),
        ),
    )  # fmt: skip
    silent: ClassVar[tuple[Example, ...]] = (
        Example(
            ({"prompt": "How many legs have five spiders?", "completion": "40"},),
            evals=({"question": "How many legs have six spiders?", "answer": "48"},),
        ),
        Example(({"prompt": "Hi!", "completion": "Hello."},), evals=({"prompt": "hi", "completion": "Hey."},)),
        Example(
            ({"prompt": "A farmer has a dog and two cats. How many animals does he have?", "completion": "3"},),
            evals=(ITEM,),
        ),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each row that holds an item."""
        return hits(corpus, GATING, "the row holds the {grade} of an eval item ({item})")
