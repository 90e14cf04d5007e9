"""What the rules share that report a held-out row with the training row that is most like it."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import ClassVar, Literal

import polars as pl
from pydantic import Field

from curate.named_splits import NEEDS_SPLITS, has_splits
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Rule
from curate.similar import MEASURES, Search


class SplitTwinRule(Rule):
    """Base of rules that rest on the search for near-duplicates across splits."""

    threshold: float | None = Field(default=None, gt=0.0, le=1.0)
    """Similarity at or above which a row counts; null for the setting's own, 0.7 or (fast) 0.8."""
    setting: Literal["default", "fast"] = "default"
    """As in near-duplicate."""

    said: ClassVar[str]
    """The finding in words, with `split` and `similarity`."""

    @abstractmethod
    def twins(self, corpus: Corpus, search: Search) -> pl.DataFrame:
        """Held-out rows as `curate.named_splits.linked_to_train` gives them."""

    def idle_reason(self, corpus: Corpus) -> str | None:
        """Without splits there is nothing to compare."""
        return None if has_splits(corpus) else NEEDS_SPLITS

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each held-out row, with the training row that is most like it."""
        search = Search(threshold=self.threshold, setting=self.setting)
        for index, split, twin, similarity in self.twins(corpus, search).iter_rows():
            yield Hit(
                index,
                self.said.format(split=split, similarity=similarity),
                evidence={"split": split},
                detail=split,
                twin=twin,
                measure=MEASURES[self.setting],
                similarity=round(similarity, 4),
            )


def two_splits(train: str, test: str) -> Example:
    """An example of one row in either split."""
    return Example(({"text": train, "split": "train"}, {"text": test, "split": "test"}))
