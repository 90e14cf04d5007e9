"""DUP204 template-variant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import polars as pl
from pydantic import Field

from curate.rows import Corpus
from curate.rules.base import Action, Example, Hit, Rule, Scope
from curate.rules.near_duplicate import STORY
from curate.similar import Search, similar_rows
from schemas.finding import Severity


class TemplateVariant(Rule):
    """A row that differs from another only in a number, a denial, an operator or one slot of a template.

    ## What it does
    Takes the verified pairs of near-duplicate and reports, for each row, its most similar earlier row of the same
    template: at most three slots differ, and grammar words beside them. Such rows are kept; splits never separate them.
    With `action: drop`, a row is dropped only for a variant of it that stays.

    ## Why
    Templated rows are wanted where the slot carries the task (sums, names, slots of a form) and worthless where it does
    not. Dropping them blindly has reduced whole data sets to a handful of rows.

    ## Known problems
    A letter left out or replaced looks like another value, hence like a slot.

    ## Source
    Public reports of function-calling sets that lost almost all rows to clustering by similarity.
    """

    code: ClassVar[str] = "DUP204"
    name: ClassVar[str] = "template-variant"
    severity: ClassVar[Severity] = Severity.INFO
    scope: ClassVar[Scope] = Scope.ALL
    waits: ClassVar[bool] = True
    default_action: ClassVar[Action] = Action.KEEP
    help: ClassVar[str] = "nothing, if the slot is what the row teaches; otherwise drop with `action: drop`"
    fires: ClassVar[tuple[Example, ...]] = (
        Example(({"text": f"{STORY} He counted 17 steps."}, {"text": f"{STORY} He counted 93 steps."})),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example(({"text": STORY}, {"text": STORY})),
        Example(({"text": "yes"}, {"text": "no"})),
    )

    threshold: float = Field(default=0.7, gt=0.0, le=1.0)
    """The threshold of the search for near-duplicates that finds the pairs."""

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each row with an earlier row of the same template."""
        pairs = similar_rows(corpus, Search(self.threshold)).pairs.filter(pl.col("kind") == "template")
        if self.effective_action is Action.DROP:
            pairs = _with_a_row_that_stays(pairs)
        best = pairs.sort("b", "similarity", "a", descending=[False, True, False]).unique(
            "b", keep="first", maintain_order=True
        )
        for twin, index, measure, similarity in best.select("a", "b", "measure", "similarity").iter_rows():
            yield Hit(
                index,
                "the same as an earlier row but for a number, a denial, an operator or one slot",
                detail=corpus.place(twin).row_id or "",
                twin=twin,
                measure=measure,
                similarity=round(similarity, 4),
            )


def _with_a_row_that_stays(pairs: pl.DataFrame) -> pl.DataFrame:
    """The pairs whose earlier row is the later one of no pair that is left: in reading order, the first ones stay."""
    dropped: set[int] = set()
    for earlier, later in pairs.select("a", "b").sort("b", "a").iter_rows():
        if earlier not in dropped:
            dropped.add(later)
    return pairs.filter(~pl.col("a").is_in(dropped))
