"""LEK411 split-near-duplicate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from curate.named_splits import NEEDS_SPLITS, has_splits, near_in_train
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Rule
from curate.rules.near_duplicate import EDITED, STORY
from curate.similar import MEASURES, Search
from schemas.finding import Severity


def _rows(train: str, test: str) -> Example:
    return Example(({"text": train, "split": "train"}, {"text": test, "split": "test"}))


class SplitNearDuplicate(Rule):
    """A held-out row that is almost a row of the training split.

    ## What it does
    Takes the verified pairs of near-duplicate and reports held-out rows with a training row among them; splits are
    named as for split-copy, which reports the copies. Rows in which only a number, a name or the answer differs are no
    near-duplicates: split-variant reports them.

    ## Why
    An edited copy of a training row is answered from memory, nearly as well as the copy itself.

    ## Known problems
    Those of near-duplicate, with whose options (`threshold`, `setting`) the search is shared if they are equal.

    ## Source
    Lee et al. 2022, arXiv:2107.06499.
    """

    code: ClassVar[str] = "LEK411"
    name: ClassVar[str] = "split-near-duplicate"
    severity: ClassVar[Severity] = Severity.ERROR
    help: ClassVar[str] = "remove the row from training, or let `assay curate` make the splits"
    fires: ClassVar[tuple[Example, ...]] = (_rows(STORY, EDITED),)
    silent: ClassVar[tuple[Example, ...]] = (
        _rows(STORY, STORY),
        _rows(STORY, "A row about something else entirely, with words of its own."),
        Example(({"text": STORY, "split": "test"}, {"text": EDITED, "split": "test"})),
    )

    threshold: float | None = Field(default=None, gt=0.0, le=1.0)
    """Similarity at or above which a row counts; null for the setting's own, 0.7 or (fast) 0.8."""
    setting: Literal["default", "fast"] = "default"
    """As in near-duplicate."""

    def idle_reason(self, corpus: Corpus) -> str | None:
        """Without splits there is nothing to compare."""
        return None if has_splits(corpus) else NEEDS_SPLITS

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each held-out row, with the training row that is most like it."""
        search = Search(threshold=self.threshold, setting=self.setting)
        for index, split, twin, similarity in near_in_train(corpus, search).iter_rows():
            yield Hit(
                index,
                f"the row of the {split} split is {similarity:.2f} similar to a row of the training split",
                evidence={"split": split},
                detail=split,
                twin=twin,
                measure=MEASURES[self.setting],
                similarity=round(similarity, 4),
            )
