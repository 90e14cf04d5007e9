"""BAL802 rare-label."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

from pydantic import Field

from curate.labels import labels_by_source
from curate.rows import Corpus
from curate.rules.base import Example, FileHit, Hit, Rule, Scope
from curate.rules.label_imbalance import labelled
from schemas.finding import Severity
from schemas.terminal import printable

SHOWN = 20


class RareLabel(Rule):
    """A file with labels that hardly any row has.

    ## What it does
    Where the answers of a file are labels, reports the labels with fewer than `min_rows_per_label` rows.

    ## Why
    A label with a handful of rows can neither be learned nor judged: split three ways, its test rows are none or one.
    Many such labels are slips of the pen of a frequent one.

    ## Known problems
    Rare labels can be the ones that matter.

    ## Source
    The rows that stratified splitting needs of each label.
    """

    code: ClassVar[str] = "BAL802"
    name: ClassVar[str] = "rare-label"
    severity: ClassVar[Severity] = Severity.INFO
    scope: ClassVar[Scope] = Scope.FILE
    help: ClassVar[str] = "check the spelling of the labels, add rows, or join them into one"
    fires: ClassVar[tuple[Example, ...]] = (labelled(("spam", 40), ("ham", 30), ("hamm", 2)),)
    silent: ClassVar[tuple[Example, ...]] = (labelled(("spam", 40), ("ham", 30)), labelled(("spam", 10), ("ham", 3)))

    min_rows_per_label: int = Field(default=5, ge=1)
    """Rows below which a label is rare."""
    min_rows: int = Field(default=50, ge=1)
    """Files with fewer labelled rows are left alone."""

    def find(self, corpus: Corpus) -> Iterable[Hit]:
        """Nothing: the fault is no row's."""
        return ()

    def find_in_files(self, corpus: Corpus) -> Iterator[FileHit]:
        """One hit for each file with rare labels."""
        for labels in labels_by_source(corpus):
            rare = [(label, count) for label, count in labels.counts if count < self.min_rows_per_label]
            if rare and labels.rows >= self.min_rows:
                named = ", ".join(f"{printable(label)!r} {count}" for label, count in rare[:3])
                more = f" and {len(rare) - 3} more" if len(rare) > 3 else ""
                few = f"fewer than {self.min_rows_per_label} rows"
                evidence = {"labels": dict(rare[:SHOWN]), "rare": len(rare)}
                yield FileHit(labels.source, None, f"labels with {few}: {named}{more}", evidence, detail="rare")
