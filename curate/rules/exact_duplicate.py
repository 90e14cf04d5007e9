"""DUP201 exact-duplicate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from curate.representatives import RepresentativeRule
from curate.rows import Corpus
from curate.rules.base import Action, Example, Hit, Scope
from schemas.finding import Severity


class ExactDuplicate(RepresentativeRule):
    """A row whose content equals that of another row.

    ## What it does
    Compares digests of 128 bits over the content: turns, tools, answers. Metadata, the order of keys and the wire shape
    do not count. One row of each group is the representative, by default the first; every other one is reported.

    ## Why
    A repeated row counts double in training, inflates every measure of held-out quality if its copies straddle a split,
    and is the first thing a model learns by heart.

    ## Known problems
    Repeating rows on purpose, to give them weight, is reported too.

    ## Source
    Lee et al. 2022, "Deduplicating Training Data Makes Language Models Better", arXiv:2107.06499.
    """

    code: ClassVar[str] = "DUP201"
    name: ClassVar[str] = "exact-duplicate"
    severity: ClassVar[Severity] = Severity.WARNING
    scope: ClassVar[Scope] = Scope.ALL
    default_action: ClassVar[Action] = Action.DROP
    help: ClassVar[str] = "keep one of the copies; `assay curate` keeps the first, or as `policy` says"
    fires: ClassVar[tuple[Example, ...]] = (
        Example(({"text": "a", "metadata": {"id": 1}}, {"text": "a", "metadata": {"id": 2}})),
        Example(({"prompt": "a", "completion": "b"}, {"instruction": "a", "output": "b"})),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example(({"text": "a"}, {"text": "A"})),
        Example(({"prompt": "a", "completion": "b"}, {"prompt": "a", "completion": "c"})),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each row that repeats the representative."""
        rows = corpus.rows.filter(pl.col("kind").is_not_null()).select("index", group="row_id")
        for index, twin in self.twins(rows, corpus).iter_rows():
            yield Hit(index, "the same content as another row", twin=twin, measure="equality", similarity=1.0)
