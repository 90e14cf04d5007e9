"""LEK412 split-prompt."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from curate.keys import row_keys
from curate.named_splits import (
    COMMON_ROWS,
    COMMON_SHARE,
    NEEDS_SPLITS,
    copies_in_train,
    has_splits,
    named_splits,
    near_in_train,
    shared_with_train,
)
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Rule, Scope
from curate.similar import Search
from schemas.finding import Severity


def _rows(*rows: tuple[str, str, str]) -> Example:
    return Example(tuple({"prompt": asked, "completion": said, "split": split} for asked, said, split in rows))


class SplitPrompt(Rule):
    """A held-out row with a prompt of the training split and another answer.

    ## What it does
    Compares what stands before the last answer, up to case and white space; splits are named as for split-copy. Rows
    that split-copy or split-near-duplicate report are left to these. A prompt of more than 1% of the training rows (and
    of more than 20) is the task's own wording and not reported.

    ## Why
    The model has seen the question with an answer to it. Whether that helps depends on the answer, hence a warning.

    ## Known problems
    Open tasks ("tell me a joke") may share prompts on purpose.

    ## Source
    House style; the same count as the data gate makes for the test split.
    """

    code: ClassVar[str] = "LEK412"
    name: ClassVar[str] = "split-prompt"
    severity: ClassVar[Severity] = Severity.WARNING
    scope: ClassVar[Scope] = Scope.ALL
    help: ClassVar[str] = "keep all rows of a prompt in one split; `assay curate` does"
    fires: ClassVar[tuple[Example, ...]] = (_rows(("2+2?", "4", "train"), ("2+2? ", "5", "test")),)
    silent: ClassVar[tuple[Example, ...]] = (
        _rows(("2+2?", "4", "train"), ("2+2?", "4", "test")),
        _rows(("2+2?", "4", "train"), ("2+3?", "5", "test")),
        _rows(("2+2?", "4", "test"), ("2+2?", "5", "validation")),
        _rows(*[("Say a number.", str(n), "train") for n in range(30)], ("Say a number.", "100", "test")),
        Example(({"text": "a", "split": "train"}, {"text": "b", "split": "test"})),
    )

    def idle_reason(self, corpus: Corpus) -> str | None:
        """Without splits there is nothing to compare."""
        return None if has_splits(corpus) else NEEDS_SPLITS

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each held-out row, with the first training row of that prompt."""
        trained = int((named_splits(corpus)["split"] == "train").sum())
        prompts = row_keys(corpus).drop_nulls("prompt").select("index", key="prompt")
        found = shared_with_train(corpus, prompts, max(COMMON_ROWS, int(COMMON_SHARE * trained)))
        found = found.join(copies_in_train(corpus), on="index", how="anti", maintain_order="left")
        if found.height:  # the search takes long: only where it can matter
            found = found.join(near_in_train(corpus, Search()), on="index", how="anti", maintain_order="left")
        for index, split, twin in found.iter_rows():
            yield Hit(
                index,
                f"the prompt of this row of the {split} split is in the training split as well",
                evidence={"split": split},
                detail=split,
                twin=twin,
                measure="same-prompt",
                similarity=1.0,
            )
