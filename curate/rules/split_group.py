"""LEK413 split-group."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from curate.metadata import field_values
from curate.named_splits import NEEDS_SPLITS, has_splits, shared_with_train
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Rule, Scope
from schemas.finding import Severity


class SplitGroup(Rule):
    """A held-out row of a group that the training split has rows of.

    ## What it does
    With `group_by` set to a metadata field (a document, a customer, a session), reports rows of other splits whose
    value a training row has as well; splits are named as for split-copy. Rows without a value match nothing.

    ## Why
    Rows of one group say the same things in other words: a score on them is too good.

    ## Known problems
    Without `group_by` the rule is not run.

    ## Source
    scikit-learn's user guide, "Cross-validation iterators for grouped data".
    """

    code: ClassVar[str] = "LEK413"
    name: ClassVar[str] = "split-group"
    severity: ClassVar[Severity] = Severity.ERROR
    scope: ClassVar[Scope] = Scope.ALL
    help: ClassVar[str] = "keep all rows of a group in one split; `assay curate` does, with `data.group_by`"
    fires: ClassVar[tuple[Example, ...]] = (
        Example(
            (
                {"text": "The first page.", "group": "book", "split": "train"},
                {"text": "The second page.", "group": "book", "split": "test"},
            ),
            options={"group_by": "group"},
        ),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example(
            (
                {"text": "The first page.", "group": "book", "split": "train"},
                {"text": "The second page.", "group": "letter", "split": "test"},
                {"text": "The third page.", "split": "test"},
            ),
            options={"group_by": "group"},
        ),
    )

    group_by: str | None = None
    """Metadata field whose values must not straddle splits."""

    def idle_reason(self, corpus: Corpus) -> str | None:
        """Without a field, or without splits, there is nothing to compare."""
        if self.group_by is None:
            return "no `group_by` was given"
        return None if has_splits(corpus) else NEEDS_SPLITS

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each held-out row, with the first training row of its group.

        Raises:
            UserError: no row has the field.
        """
        if self.group_by is None:
            return
        values = field_values(corpus, self.group_by, f"rule {self.name}: group_by")
        groups = corpus.rows.select("index", key=values)
        found = shared_with_train(corpus, groups)
        named = dict(found.select("index").join(groups, on="index", how="left").iter_rows())
        for index, split, twin in found.iter_rows():
            value = named[index][:60]
            yield Hit(
                index,
                f"the training split has rows of the group {value!r} of this row of the {split} split",
                evidence={"split": split, "group": value},
                detail=f"{split}\n{value}",
                twin=twin,
                measure=f"same-{self.group_by}",
                similarity=1.0,
            )
