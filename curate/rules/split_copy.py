"""LEK410 split-copy."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from curate.named_splits import NEEDS_SPLITS, copies_in_train, has_splits
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Rule, Scope
from schemas.finding import Severity


def _rows(*rows: tuple[str, str, str]) -> Example:
    return Example(tuple({"prompt": asked, "completion": said, "split": split} for asked, said, split in rows))


class SplitCopy(Rule):
    """A held-out row that the training split holds as well.

    ## What it does
    Splits are those that the rows name in a metadata field `split`, or else their files: `train`, `valid`,
    `validation`, `val`, `dev`, `test`, `eval` or `holdout` as a word of the file's name, or as the name of its folder.
    Reports each row of another split that is, up to case and white space, a row of the training split.

    ## Why
    A score on rows that were trained on measures memory. It is the most common fault of published splits.

    ## Known problems
    Answers of one word to short questions repeat by themselves; if that is the task, the score is still the memory's.
    Rows that stand in validation and test, but not in train, are not reported.

    ## Source
    Lee et al. 2022, arXiv:2107.06499, on training sets that overlap with their validation sets.
    """

    code: ClassVar[str] = "LEK410"
    name: ClassVar[str] = "split-copy"
    severity: ClassVar[Severity] = Severity.ERROR
    scope: ClassVar[Scope] = Scope.ALL
    help: ClassVar[str] = "remove the row from training, or let `assay curate` make the splits"
    fires: ClassVar[tuple[Example, ...]] = (
        _rows(("2+2?", "4", "train"), ("2+2?", "4", "test")),
        _rows(("What is it?", "Tea.", "validation"), ("what is  it?", "tea.", "train")),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        _rows(("2+2?", "4", "train"), ("2+3?", "5", "test")),
        _rows(("2+2?", "4", "train"), ("2+2?", "4", "train")),
        _rows(("2+2?", "4", "train"), ("2+2?", "5", "test")),
        _rows(("2+2?", "4", "first"), ("2+2?", "4", "second")),
    )

    def idle_reason(self, corpus: Corpus) -> str | None:
        """Without splits there is nothing to compare."""
        return None if has_splits(corpus) else NEEDS_SPLITS

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each held-out row, with the first training row that it is a copy of."""
        for index, split, twin in copies_in_train(corpus).iter_rows():
            exact = corpus.place(index).row_id == corpus.place(twin).row_id
            yield Hit(
                index,
                f"the row of the {split} split is in the training split as well",
                evidence={"split": split},
                detail=split,
                twin=twin,
                measure="exact" if exact else "normalised",
                similarity=1.0,
            )
