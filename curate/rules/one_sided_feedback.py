"""PRF907 one-sided-feedback."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

import polars as pl
from pydantic import Field

from curate.readers.builder import row_identity
from curate.rows import Corpus
from curate.rules.base import Action, Example, FileHit, Hit, Rule, Scope
from curate.structure import shaped_rows
from schemas.finding import Severity


def _rows(good: int, bad: int) -> Example:
    labels = [True] * good + [False] * bad
    return Example(tuple({"prompt": f"{n}?", "completion": f"{n}!", "label": own} for n, own in enumerate(labels)))


class OneSidedFeedback(Rule):
    """A file of feedback in which every answer is good, or every answer is bad.

    ## What it does
    Reports files with at least `min_rows` rows of feedback that all have the same label.

    ## Why
    KTO learns from the contrast of good and bad answers; with one of them alone it drifts, and bad answers alone only
    teach what not to say.

    ## Known problems
    A file may hold the good answers and another one the bad ones; audit both together, and look at the sum.

    ## Source
    Ethayarajh et al. 2024, arXiv:2402.01306, section 4, on the weights of desirable and undesirable examples.
    """

    code: ClassVar[str] = "PRF907"
    name: ClassVar[str] = "one-sided-feedback"
    severity: ClassVar[Severity] = Severity.WARNING
    scope: ClassVar[Scope] = Scope.FILE
    actions: ClassVar[tuple[Action, ...]] = (Action.KEEP,)
    help: ClassVar[str] = "add answers with the other label, or train on the good answers with `method: sft`"
    fires: ClassVar[tuple[Example, ...]] = (_rows(10, 0), _rows(0, 12))
    silent: ClassVar[tuple[Example, ...]] = (_rows(9, 1), _rows(3, 0), Example.chat("a", "b"))

    min_rows: int = Field(default=10, ge=1)
    """Smaller files are not judged."""

    def find(self, corpus: Corpus) -> Iterable[Hit]:
        """Nothing: it is the file that is one-sided, not a row."""
        return ()

    def find_in_files(self, corpus: Corpus) -> Iterator[FileHit]:
        """One hit for each file with one label."""
        rows = corpus.rows.filter(pl.col("kind") == "feedback")
        # A label stands beside the turns, mostly by itself: then its digest is one of two.
        known = {row_identity([{"label": label}, []]): label for label in (True, False)}
        labels = rows["beside"].replace_strict(known, default=None, return_dtype=pl.Boolean)
        others = rows.filter(labels.is_null())
        read = {index: bool(shaped.extra["label"]) for index, shaped in shaped_rows(corpus, others)}
        labels = labels.fill_null(rows["index"].replace_strict(read, default=None, return_dtype=pl.Boolean))
        files = rows.select("source", label=labels).group_by("source").agg(rows=pl.len(), good=pl.col("label").sum())
        for source, count, good in files.sort("source").iter_rows():
            if count >= self.min_rows and good in (0, count):
                what = "good" if good else "bad"
                yield FileHit(source, None, f"all {count:,} answers are labelled {what}", {"rows": count, "good": good})
