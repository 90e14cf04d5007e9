"""BAL801 label-imbalance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

from pydantic import Field

from curate.labels import labels_by_source
from curate.rows import Corpus
from curate.rules.base import Example, FileHit, Hit, Rule, Scope
from schemas.finding import Severity
from schemas.terminal import printable

SHOWN = 10


def labelled(*counts: tuple[str, int]) -> Example:
    """A file of short answers, each as often as it is said here."""
    rows = [Example.chat(f"mail {label} {n}", label).lines[0] for label, count in counts for n in range(count)]
    return Example(tuple(rows))


class LabelImbalance(Rule):
    """A file in which nearly all answers are the same label.

    ## What it does
    Where the answers of a file are labels (short, and at least five rows for each on average), reports the file if one
    label has a share of `max_share` or more of at least `min_rows` rows, or if there is only one.

    ## Why
    A model that always gives the frequent label is right nearly always and has learned nothing; accuracy does not show
    it.

    ## Known problems
    The true shares may be that uneven, and a model that is to give probabilities should see them. Multi-line answers
    and labels in prose are free text to this rule.

    ## Source
    He and Garcia 2009, IEEE TKDE 21(9), on learning from imbalanced data.
    """

    code: ClassVar[str] = "BAL801"
    name: ClassVar[str] = "label-imbalance"
    severity: ClassVar[Severity] = Severity.WARNING
    scope: ClassVar[Scope] = Scope.FILE
    help: ClassVar[str] = "add rows with the rare labels, or judge the model by balanced accuracy"
    fires: ClassVar[tuple[Example, ...]] = (labelled(("spam", 58), ("ham", 2)), labelled(("spam", 60)))
    silent: ClassVar[tuple[Example, ...]] = (labelled(("spam", 40), ("ham", 20)), labelled(("spam", 20)))

    max_share: float = Field(default=0.9, gt=0.0, le=1.0)
    """Share of the most frequent label from which on the file is reported."""
    min_rows: int = Field(default=50, ge=1)
    """Files with fewer labelled rows are left alone."""

    def find(self, corpus: Corpus) -> Iterable[Hit]:
        """Nothing: the fault is no row's."""
        return ()

    def find_in_files(self, corpus: Corpus) -> Iterator[FileHit]:
        """One hit for each file with a label that is nearly always given."""
        for labels in labels_by_source(corpus):
            label, count = labels.counts[0]
            if labels.rows >= self.min_rows and count >= self.max_share * labels.rows:
                share = count / labels.rows
                evidence = {"labels": dict(labels.counts[:SHOWN]), "rows": labels.rows, "share": round(share, 4)}
                message = f"{count:,} of {labels.rows:,} answers ({share:.2f}) are {printable(label)!r}"
                yield FileHit(labels.source, None, message, evidence, detail=label)
