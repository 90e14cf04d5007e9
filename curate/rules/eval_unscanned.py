"""LEK406 eval-unscanned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

import numpy as np

from curate.contamination.items import unread_records
from curate.contamination.search import search
from curate.rows import Corpus
from curate.rules.base import Example, FileHit, Hit, Need, Rule
from schemas.finding import Severity

NAMED = 20


class EvalUnscanned(Rule):
    """Eval items that could not be compared, or as a whole only.

    ## What it does
    Counts records of the eval files that cannot be read, items without any word, and items of which the training data's
    own wording leaves fewer than eight words, so that only rows that hold the whole question could be found; names the
    first of each. Eval files without any item are reported as well.

    ## Why
    An item that was not looked for is not an item that is not there.

    ## Known problems
    An item that really stands in more than 1% of the rows counts as the data's wording; the rows that hold it whole are
    reported all the same.

    ## Source
    House rule: what was not scanned is inconclusive.
    """

    code: ClassVar[str] = "LEK406"
    name: ClassVar[str] = "eval-unscanned"
    severity: ClassVar[Severity] = Severity.INFO
    needs: ClassVar[Need | None] = Need.EVALS
    help: ClassVar[str] = "give these items their text, or judge them by themselves"
    fires: ClassVar[tuple[Example, ...]] = (
        Example(({"prompt": "Hi!", "completion": "Hello."},), evals=({"question": "?!", "answer": "none"},)),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example(({"prompt": "Hi!", "completion": "Hello."},), evals=({"question": "How are you?", "answer": "well"},)),
    )

    def find(self, corpus: Corpus) -> Iterable[Hit]:
        """Nothing: the fault is no row's."""
        return ()

    def find_in_files(self, corpus: Corpus) -> Iterator[FileHit]:
        """One hit if there are such items, at the first file of rows."""
        found = search(corpus)
        items = found.index.items
        wordless = items["words"].to_numpy() == 0
        own = found.scan.own_wording & ~wordless
        unread = [] if corpus.evals is None else unread_records(corpus.evals)
        if wordless.any() or own.any() or unread or not items.height:
            message = (
                f"of {items.height:,} eval items {int(wordless.sum()):,} have no words and {int(own.sum()):,} are the "
                f"data's own wording, compared as a whole only; {len(unread):,} records could not be read"
            )
            first = items[np.flatnonzero(wordless | own)[:NAMED]].select("eval_set", "path", "line", "row").to_dicts()
            evidence = {"without_words": int(wordless.sum()), "own_wording": int(own.sum()), "first": first}
            evidence |= {"unread": len(unread), "first_unread": unread[:NAMED]}
            yield FileHit(0, None, message, evidence, detail="unscanned")
