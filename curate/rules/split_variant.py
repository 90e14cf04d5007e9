"""LEK414 split-variant."""

from __future__ import annotations

from typing import ClassVar

import polars as pl

from curate.named_splits import variants_in_train
from curate.rows import Corpus
from curate.rules.base import Example, Scope
from curate.rules.near_duplicate import EDITED, STORY
from curate.similar import Search
from curate.split_twins import SplitTwinRule, two_splits
from schemas.finding import Severity


class SplitVariant(SplitTwinRule):
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
    scope: ClassVar[Scope] = Scope.ALL
    help: ClassVar[str] = "look whether the slot is the task; if not, let `assay curate` make the splits"
    fires: ClassVar[tuple[Example, ...]] = (
        two_splits(f"{STORY} He counted 17 steps.", f"{STORY} He counted 93 steps."),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        two_splits(STORY, STORY),
        two_splits(STORY, EDITED),
        two_splits(STORY, "A row about something else entirely, with words of its own."),
        Example(
            (
                {"prompt": STORY, "completion": "fiction", "split": "train"},
                {"prompt": STORY, "completion": "news", "split": "test"},
            )
        ),
    )

    said: ClassVar[str] = "the row of the {split} split has {similarity:.2f} in common with a row of the training split"

    def twins(self, corpus: Corpus, search: Search) -> pl.DataFrame:
        """See `variants_in_train`."""
        return variants_in_train(corpus, search)
