"""CON301 conflict."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import polars as pl
from pydantic import Field

from curate.conflicts import conflicting_rows
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Rule, Scope
from schemas.finding import Severity

ROWS_NAMED = 20
EXCERPT_CHARS = 80


class Conflict(Rule):
    """The same prompt with different answers.

    ## What it does
    Groups rows by their prompt (all turns before the last answer; case and white space do not count) and reports every
    row of a group with more than one answer. The rows of a group name each other. Answers of at most `label_chars`
    characters throughout the group are labels: a warning. Anything longer is free text, of which many may be right:
    information. So is a row that only repeats an earlier one of its group: exact-duplicate has said it.

    ## Why
    Two labels for one input cannot both be right; training on both teaches a coin toss, and no model can score on such
    items.

    ## Known problems
    Tasks in which short answers may differ (naming, small talk) are reported as warnings. Rows for preference and
    reinforcement training are left out.

    ## Source
    Northcutt et al. 2021, "Pervasive Label Errors in Test Sets", arXiv:2103.14749, for what such labels do to measures.
    """

    code: ClassVar[str] = "CON301"
    name: ClassVar[str] = "conflict"
    severity: ClassVar[Severity] = Severity.WARNING
    scope: ClassVar[Scope] = Scope.ALL
    help: ClassVar[str] = (
        "decide which answer is right and remove the others; for free text, decide whether all may stay"
    )
    fires: ClassVar[tuple[Example, ...]] = (
        Example(({"prompt": "2+2?", "completion": "4"}, {"prompt": "2+2?", "completion": "5"})),
        Example(({"prompt": "Is it spam?", "completion": "ham"}, {"prompt": "is it  spam?", "completion": "spam"})),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example(({"prompt": "2+2?", "completion": "4"}, {"prompt": "2+2?", "completion": "4"})),
        Example(({"prompt": "yes or no", "completion": "Yes"}, {"prompt": "yes or no", "completion": "yes "})),
        Example(({"prompt": "2+2?", "completion": "4"}, {"prompt": "2+3?", "completion": "5"})),
        Example(({"text": "a"}, {"text": "b"})),
    )

    label_chars: int = Field(default=32, ge=1)
    """Answers up to this length count as labels."""

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each row of a group with more than one answer."""
        rows = conflicting_rows(corpus, self.label_chars).with_columns(copy=~pl.col("full").is_first_distinct())
        for group in rows.partition_by("prompt", maintain_order=True):
            yield from self._hits(corpus, group)

    def _hits(self, corpus: Corpus, group: pl.DataFrame) -> Iterator[Hit]:
        members = list(group.select("index", "answer", "answer_key", "copy").iter_rows())
        labels = group["labels"][0]
        named = [self._named(corpus, index, answer) for index, answer, *_ in members[:ROWS_NAMED]]
        answers = group["answer_key"].n_unique()
        what = f"the prompt of {len(members)} rows has {answers} different answers"
        for index, answer, key, copy in members:
            twin = next(other for other, _, said, _ in members if said != key)
            yield Hit(
                index,
                what,
                evidence={"rows": named, "answers": answers},
                detail=answer[:200],
                twin=twin,
                measure="same-prompt",
                similarity=1.0,
                severity=None if labels and not copy else Severity.INFO,
            )

    @staticmethod
    def _named(corpus: Corpus, index: int, answer: str) -> dict[str, Any]:
        place = corpus.place(index)
        return {
            "path": corpus.sources[place.source].path,
            "line": place.line,
            "row": place.row,
            "answer": answer[:EXCERPT_CHARS],
        }
