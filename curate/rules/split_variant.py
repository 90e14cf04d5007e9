"""LEK414 split-variant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Literal

from pydantic import Field

from curate.named_splits import NEEDS_SPLITS, has_splits, variants_in_train
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Rule
from curate.rules.near_duplicate import EDITED, STORY
from curate.similar import MEASURES, Search
from schemas.finding import Severity


def _rows(train: str, test: str) -> Example:
    return Example(({"text": train, "split": "train"}, {"text": test, "split": "test"}))


class SplitVariant(Rule):
    """A held-out row that shares most of its text with a training row.

    ## What it does
    Takes the pairs that the search for near-duplicates has verified and does not call so: rows of one template in which
    a number, a name or another slot differs, rows with other answers, rows with a passage of their own. Reports
    held-out rows that have at least `threshold` in common with a training row; splits are named as for split-copy. Rows
    that split-copy or split-near-duplicate report are left to these, pairs with the same prompt to split-prompt.

    ## Why
    Who was trained on the other row has read most of this one. Where the slot is the task, that is what was to be
    learned; where it is not, the answer is known from memory. Splits that `assay curate` makes never separate such
    rows.

    ## Known problems
    In a task that is one template, most held-out rows are variants of some training row, and rightly so; hence a
    warning. Rows with more than three slots, or under eight words, may be missed.

    ## Source
    House style; Lewis et al. 2021, arXiv:2008.02637, on test questions that paraphrase training questions.
    """

    code: ClassVar[str] = "LEK414"
    name: ClassVar[str] = "split-variant"
    severity: ClassVar[Severity] = Severity.WARNING
    help: ClassVar[str] = "look whether the slot is the task; if not, let `assay curate` make the splits"
    fires: ClassVar[tuple[Example, ...]] = (_rows(f"{STORY} He counted 17 steps.", f"{STORY} He counted 93 steps."),)
    silent: ClassVar[tuple[Example, ...]] = (
        _rows(STORY, STORY),
        _rows(STORY, EDITED),
        _rows(STORY, "A row about something else entirely, with words of its own."),
        Example(
            (
                {"prompt": STORY, "completion": "fiction", "split": "train"},
                {"prompt": STORY, "completion": "news", "split": "test"},
            )
        ),
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
        for index, split, twin, similarity in variants_in_train(corpus, search).iter_rows():
            yield Hit(
                index,
                f"the row of the {split} split has {similarity:.2f} in common with a row of the training split",
                evidence={"split": split},
                detail=split,
                twin=twin,
                measure=MEASURES[self.setting],
                similarity=round(similarity, 4),
            )
