"""LEK411 split-near-duplicate."""

from __future__ import annotations

from typing import ClassVar

import polars as pl

from curate.named_splits import near_in_train
from curate.rows import Corpus
from curate.rules.base import Example, Scope
from curate.rules.near_duplicate import EDITED, STORY
from curate.similar import Search
from curate.split_twins import SplitTwinRule, two_splits
from schemas.finding import Severity


class SplitNearDuplicate(SplitTwinRule):
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
    scope: ClassVar[Scope] = Scope.ALL
    help: ClassVar[str] = "remove the row from training, or let `assay curate` make the splits"
    fires: ClassVar[tuple[Example, ...]] = (two_splits(STORY, EDITED),)
    silent: ClassVar[tuple[Example, ...]] = (
        two_splits(STORY, STORY),
        two_splits(STORY, "A row about something else entirely, with words of its own."),
        Example(({"text": STORY, "split": "test"}, {"text": EDITED, "split": "test"})),
    )

    said: ClassVar[str] = "the row of the {split} split is {similarity:.2f} similar to a row of the training split"

    def twins(self, corpus: Corpus, search: Search) -> pl.DataFrame:
        """See `near_in_train`."""
        return near_in_train(corpus, search)
