"""SCH137 label-not-boolean."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from curate.rows import Corpus
from curate.rules.base import Example, Hit, Rule
from schemas.finding import Severity

LIKE_BOOLEANS = ("true", "false")


def _rows(*labels: object) -> Example:
    return Example(tuple({"prompt": f"{n}?", "completion": f"{n}!", "label": own} for n, own in enumerate(labels)))


class LabelNotBoolean(Rule):
    """Feedback whose label is no boolean.

    ## What it does
    Reports rows with `prompt`, `completion` and a `label` other than true and false, in files where other rows have
    true or false there. Where no row has, labels that are the words true and false in quotes are reported as warnings.

    ## Why
    KTO reads the label as good or bad. The text "false" counts as true, like any text that is not empty: the bad answer
    is learnt as a good one.

    ## Known problems
    A file of answers that were labelled true or false for a classifier is reported as well.

    ## Source
    TRL's KTO trainer: "label" is a boolean.
    """

    code: ClassVar[str] = "SCH137"
    name: ClassVar[str] = "label-not-boolean"
    severity: ClassVar[Severity] = Severity.ERROR
    help: ClassVar[str] = "write true or false without quotes; rename the field if it is no judgement of the answer"
    fires: ClassVar[tuple[Example, ...]] = (_rows(True, "false"), _rows(True, False, 1), _rows("True", "False"))
    silent: ClassVar[tuple[Example, ...]] = (
        _rows(True, False),
        _rows("spam", "ham"),
        _rows(0, 1),
        Example(({"messages": [{"role": "assistant", "content": "a"}], "label": "true"},)),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each label that is none."""
        judged = corpus.rows.lazy().filter(pl.col("kind") == "feedback").select("source").unique()
        rows = corpus.rows.lazy().filter(
            (pl.col("shape") == "prompt-completion") & pl.col("metadata").str.contains('"label":', literal=True)
        )
        labelled = (
            rows.select("index", "source", label=pl.col("metadata").str.json_path_match("$.label"))
            .filter(pl.col("label").is_not_null())
            .join(judged.with_columns(judged=True), on="source", how="left", maintain_order="left")
        )
        wrong = pl.col("judged").fill_null(False) | pl.col("label").str.to_lowercase().is_in(LIKE_BOOLEANS)
        for index, label, judged_file in (
            labelled.filter(wrong).select("index", "label", "judged").collect().iter_rows()
        ):
            yield Hit(
                index,
                f"the label is {label[:60]!r}, not true or false",
                evidence={"found": label[:200], "expected": "true or false"},
                detail=label[:200],
                severity=None if judged_file else Severity.WARNING,
            )
