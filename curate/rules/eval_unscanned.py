"""LEK406 eval-unscanned."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import numpy as np

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
        if corpus.shard is not None and corpus.shard.number:
            return
        found = search(corpus)
        items = found.index.items
        unread = items["row_id"].is_null().to_numpy()
        wordless = (items["words"].to_numpy() == 0) & ~unread
        own = found.scan.own_wording & ~wordless & ~unread
        if wordless.any() or own.any() or unread.any() or not items.height:
            message = (
                f"of {items.height:,} eval items {int(unread.sum()):,} could not be read, {int(wordless.sum()):,} have "
                f"no words and {int(own.sum()):,} are the data's own wording, compared as a whole only"
            )
            places = items.select("eval_set", "path", "line", "row")
            evidence: dict[str, Any] = {"without_words": int(wordless.sum()), "own_wording": int(own.sum())}
            evidence |= {"first": places[np.flatnonzero(wordless | own)[:NAMED]].to_dicts()}
            evidence |= {"unread": int(unread.sum())}
            evidence |= {"first_unread": places[np.flatnonzero(unread)[:NAMED]].to_dicts()}
            yield FileHit(0, None, message, evidence, detail="unscanned")
