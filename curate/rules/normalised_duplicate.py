"""DUP202 normalised-duplicate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from curate.keys import row_keys
from curate.repeats import with_repeats
from curate.representatives import RepresentativeRule
from curate.rows import Corpus
from curate.rules.base import Action, Example, Hit, Scope
from schemas.finding import Severity


class NormalisedDuplicate(RepresentativeRule):
    """A row that equals another one but for case, white space and Unicode form.

    ## What it does
    Compares the whole row, speakers included, in NFKC, in lower case, with single spaces. Rejected answers, tools,
    labels and weights must be equal as well. Rows that are equal as they stand are left to exact-duplicate.

    ## Why
    The same reasons as for exact duplicates; re-wrapped lines and changed case are the commonest ways of missing them.

    ## Known problems
    Where case carries meaning (code, passwords, chemical formulas) two different rows may be taken as one; set
    `action: keep` for such data.

    ## Source
    Unicode Standard Annex 15 (NFKC).
    """

    code: ClassVar[str] = "DUP202"
    name: ClassVar[str] = "normalised-duplicate"
    severity: ClassVar[Severity] = Severity.WARNING
    scope: ClassVar[Scope] = Scope.ALL
    default_action: ClassVar[Action] = Action.DROP
    help: ClassVar[str] = "keep one of the copies; `assay curate` keeps the first, or as `policy` says"
    fires: ClassVar[tuple[Example, ...]] = (Example(({"text": "One  two\nthree"}, {"text": "one two three "})),)
    silent: ClassVar[tuple[Example, ...]] = (
        Example(({"text": "one two"}, {"text": "one two"})),
        Example(({"text": "onetwo"}, {"text": "one two"})),
        Example(({"prompt": "a b", "completion": "c"}, {"prompt": "a", "completion": "b c"})),
        Example(({"prompt": "a", "chosen": "b", "rejected": "c"}, {"prompt": "a", "chosen": "b", "rejected": "d"})),
        Example(
            ({"prompt": "a", "completion": "b", "label": True}, {"prompt": "A", "completion": "b", "label": False})
        ),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each row that repeats the representative up to normalisation."""
        rows = corpus.rows.select("index", group="row_id")
        exact = self.twins(rows, corpus)
        keys = with_repeats(row_keys(corpus).select("index", group="full"), "group")
        for index, twin in self.twins(
            keys.join(exact, on="index", how="anti", maintain_order="left"), corpus
        ).iter_rows():
            message = "equal to another row but for case, white space or Unicode form"
            yield Hit(index, message, twin=twin, measure="normalised-equality", similarity=1.0)
