"""CON311 earlier-conflict."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from curate.earlier import contradicted_rows
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Need, Rule, Scope
from schemas.finding import Severity

EXCERPT_CHARS = 80


class EarlierConflict(Rule):
    """The prompt of an earlier dataset's row with another answer.

    ## What it does
    Looks the prompt of every row (all turns before the last answer; case and white space do not count) up in an index
    that `assay index build` made, and reports the first earlier row that answers it otherwise. Where both answers have
    at most `label_chars` characters they are labels: a warning. Anything longer, and anything in an index that keeps no
    texts, is information.

    ## Why
    Two labels for one input cannot both be right, whichever delivery they came with.

    ## Known problems
    Those of conflict: tasks in which short answers may differ are reported as warnings.

    ## Source
    Northcutt et al. 2021, "Pervasive Label Errors in Test Sets", arXiv:2103.14749.
    """

    code: ClassVar[str] = "CON311"
    name: ClassVar[str] = "earlier-conflict"
    severity: ClassVar[Severity] = Severity.WARNING
    scope: ClassVar[Scope] = Scope.ALL
    needs: ClassVar[Need | None] = Need.INDEX
    help: ClassVar[str] = "decide which answer is right and remove the others"
    fires: ClassVar[tuple[Example, ...]] = (
        Example(
            ({"prompt": "is it  spam?", "completion": "spam"},),
            earlier=({"prompt": "Is it spam?", "completion": "ham"},),
        ),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example(({"prompt": "2+2?", "completion": "4"},), earlier=({"prompt": "2+2?", "completion": "4"},)),
        Example(({"prompt": "2+2?", "completion": "4"},), earlier=({"prompt": "2+3?", "completion": "5"},)),
        Example(({"text": "a"},), earlier=({"text": "b"},)),
    )

    label_chars: int = Field(default=32, ge=1)
    """Answers up to this length count as labels."""

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each row that contradicts an earlier one."""
        assert corpus.earlier is not None
        for index, number, answer in contradicted_rows(corpus).iter_rows():
            twin, before = corpus.earlier.index.place(number), corpus.earlier.index.answer(number)
            labels = before is not None and max(len(before), len(answer or "")) <= self.label_chars
            yield Hit(
                index,
                "a row of an earlier dataset answers the same prompt otherwise",
                evidence={
                    "twin": twin,
                    "measure": "same-prompt",
                    "similarity": 1.0,
                    "answer": (answer or "")[:EXCERPT_CHARS],
                    "earlier_answer": None if before is None else before[:EXCERPT_CHARS],
                },
                detail=twin["row_id"],
                severity=None if labels else Severity.INFO,
            )
