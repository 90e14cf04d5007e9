"""CON302 near-conflict."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import polars as pl
from pydantic import Field

from curate.rows import Corpus
from curate.rules.base import Example, Hit, Rule, Scope
from curate.rules.near_duplicate import EDITED, STORY
from curate.similar import Search, comparable_texts, similar_rows
from schemas.finding import Severity


class NearConflict(Rule):
    """Almost the same row as another, with a different label.

    ## What it does
    Takes the verified pairs of near-duplicate whose answers differ, and reports the later row of each pair if both
    answers have at most `label_chars` characters.

    ## Why
    Two labels for what is nearly one input: one of them is likely to be wrong.

    ## Known problems
    A small difference may be exactly what the label is about.

    ## Source
    Northcutt et al. 2021, arXiv:2103.14749.
    """

    code: ClassVar[str] = "CON302"
    name: ClassVar[str] = "near-conflict"
    severity: ClassVar[Severity] = Severity.INFO
    scope: ClassVar[Scope] = Scope.ALL
    waits: ClassVar[bool] = True
    help: ClassVar[str] = "compare the two rows and correct the label that is wrong"
    fires: ClassVar[tuple[Example, ...]] = (
        Example(
            (
                {"prompt": STORY, "completion": "fiction"},
                {"prompt": EDITED, "completion": "news"},
            )
        ),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example(({"prompt": STORY, "completion": "fiction"}, {"prompt": "Rates rose again.", "completion": "news"})),
    )

    threshold: float = Field(default=0.7, gt=0.0, le=1.0)
    """The threshold of the search for near-duplicates that finds the pairs."""
    label_chars: int = Field(default=32, ge=1)
    """Answers up to this length count as labels."""

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each row with an earlier, nearly equal row of another label."""
        pairs = similar_rows(corpus, Search(self.threshold)).pairs.filter(
            (pl.col("kind") == "other-answer") & (pl.col("similarity") >= self.threshold)
        )
        answers = comparable_texts(corpus).select("index", "answer")
        labelled = pairs.join(answers, left_on="a", right_on="index").join(
            answers, left_on="b", right_on="index", suffix="_b"
        )
        short = labelled.filter(
            (pl.col("answer").str.len_chars() <= self.label_chars)
            & (pl.col("answer_b").str.len_chars() <= self.label_chars)
        )
        best = short.sort("b", "similarity", "a", descending=[False, True, False]).unique(
            "b", keep="first", maintain_order=True
        )
        columns = ["a", "b", "measure", "similarity", "answer", "answer_b"]
        for twin, index, measure, similarity, theirs, ours in best.select(columns).iter_rows():
            yield Hit(
                index,
                f"{similarity:.2f} similar to an earlier row with another answer",
                evidence={"answer": ours, "other_answer": theirs},
                detail=corpus.place(twin).row_id or "",
                twin=twin,
                measure=measure,
                similarity=round(similarity, 4),
            )
