"""DUP211 earlier-duplicate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from pydantic import Field

from curate.earlier import held_rows
from curate.rows import Corpus
from curate.rules.base import Action, Example, Hit, Need, Rule, Scope
from curate.rules.near_duplicate import EDITED, STORY
from schemas.finding import Severity

SENTENCES = {
    "exact": "an earlier dataset holds this row",
    "normalised": "an earlier dataset holds this row, equal but for case, white space or Unicode form",
}
MEASURES = {"exact": "equality", "normalised": "normalised-equality"}


class EarlierDuplicate(Rule):
    """A row that an earlier dataset holds already, as it stands or nearly so.

    ## What it does
    Looks every row up in an index that `assay index build` made (`--index`, `data.index`): rows with the same content
    up to case and white space by 128-bit digests, near-duplicates by MinHash bands and then by comparing the texts, as
    near-duplicate does. Rows under other instructions, with other tools or with other labels are other rows. The
    finding names path, line and row id of the earlier row. Rows are looked up as they would be published: redacted
    where the config redacts.

    ## Why
    What was trained on before, or held out before, must not come again with the next delivery.

    ## Known problems
    Those of near-duplicate. Instructions must be equal up to case and white space, even where few rows share them. An
    index built with `--exact-only` keeps no texts and finds no near-duplicates. A template of which the new rows alone
    do not show three fillers is not known as one.

    ## Source
    Broder 1997, "On the resemblance and containment of documents".
    """

    code: ClassVar[str] = "DUP211"
    name: ClassVar[str] = "earlier-duplicate"
    severity: ClassVar[Severity] = Severity.WARNING
    scope: ClassVar[Scope] = Scope.ALL
    default_action: ClassVar[Action] = Action.DROP
    needs: ClassVar[Need | None] = Need.INDEX
    help: ClassVar[str] = "leave the row out; `assay curate` drops it"
    fires: ClassVar[tuple[Example, ...]] = (
        Example(({"text": "One  two\nthree"},), earlier=({"text": "one two three"},)),
        Example(({"text": EDITED},), earlier=({"text": STORY},)),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example(({"text": "one two"}, {"text": "one two"}), earlier=({"text": "one two three"},)),
        Example(
            ({"prompt": "Name a colour.", "completion": "blue"},),
            earlier=({"prompt": "Name a colour.", "completion": "red"},),
        ),
    )

    threshold: float = Field(default=0.7, gt=0.0, le=1.0)
    """Similarity at or above which a row counts as a near-duplicate."""

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each row that an earlier dataset holds."""
        assert corpus.earlier is not None
        for index, number, kind, similarity in held_rows(corpus, self.threshold).iter_rows():
            twin = corpus.earlier.index.place(number)
            measure = MEASURES.get(kind, "alignment")
            near = f"{similarity:.2f} similar to a row of an earlier dataset"
            evidence = {"twin": twin, "measure": measure, "similarity": round(similarity, 4), "kind": kind}
            yield Hit(index, SENTENCES.get(kind, near), evidence=evidence, detail=twin["row_id"])
