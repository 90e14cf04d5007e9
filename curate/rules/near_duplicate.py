"""DUP203 near-duplicate."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from curate.representatives import SimilarityRule
from curate.rows import Corpus
from curate.rules.base import Action, Example, Hit, Scope
from schemas.finding import Severity

STORY = (
    "The old lighthouse keeper climbed the spiral stairs every evening to light the great lamp, and every morning he "
    "climbed them again to put it out, counting the steps aloud so that the gulls would know he was coming home for "
    "tea. In winter the wind pushed salt water through the keyholes and the kettle sang all night; in summer the ferry "
    "brought newspapers, lemons and letters from his sister, who wrote about her orchard, her bees and the quarrels of "
    "the neighbours. He answered each letter on a Sunday, sealed it with candle wax and waited for the boat."
)
EDITED = (
    STORY.replace("every evening", "each evening")
    .replace("aloud so", "softly so")
    .replace("salt water", "sea water")
    .replace("newspapers, lemons", "papers, lemons")
    .replace("and waited", "then waited")
)


class NearDuplicate(SimilarityRule):
    """A row that says almost the same as another row.

    ## What it does
    Proposes pairs by MinHash, then compares each pair's whole texts; a row is reported only for a direct, verified
    match with a row that stays, never through a chain of others. Instructions that many rows share do not count. Rows
    with the same prompt and another answer are no duplicates (see conflict): an answer must be alike by itself (0.1
    below the threshold), and one of fewer than 20 words equal, unless the prompts differ here and there as well. Words
    of five letters or more that are typing errors of one another are the same word: two neighbouring letters changed
    places, or (not in identifiers and capitals) a letter is doubled. In rows of fewer than 58 words every other edit of
    a word that is no grammar word (an article, a preposition) makes another row. Nor are rows duplicates in which only
    a number, a name or one slot of a template differs (see template-variant), a word of a closed set (before and after,
    mg and ml, march and april), or where one or two places differ, a denial or an operator of code.

    ## Why
    Edited copies teach nothing new, weigh double, and carry the test split into training.

    ## Known problems
    Rows of fewer than 20 words are compared as wholes. Trail and trial, or angel and angle, are taken for typing errors
    of one another. In long rows a plain word in the place of another is an edit, in code and tables as well: one other
    identifier, column or value drops a row, unless its name has an underscore, a point or an inner capital, the same
    two words stand for each other wherever they occur, or three rows or more have words of their own at the place. Two
    rows of one template with another plain word look like an edited copy. The word that two copies were both edited at
    looks like a slot. Scripts without capitals do not show names. Denials are known in some twenty languages, but not
    in Thai. A name, or a noun in German, with a letter left out or replaced counts as another name. An edited copy of
    which one word "not" was left out is kept.

    ## Source
    Broder 1997, "On the resemblance and containment of documents"; Lee et al. 2022, arXiv:2107.06499.
    """

    code: ClassVar[str] = "DUP203"
    name: ClassVar[str] = "near-duplicate"
    severity: ClassVar[Severity] = Severity.WARNING
    scope: ClassVar[Scope] = Scope.ALL
    default_action: ClassVar[Action] = Action.DROP
    echoes: ClassVar[tuple[str, ...]] = ("DUP201", "DUP202")
    takes_long: ClassVar[bool] = True
    help: ClassVar[str] = "keep one of the rows; `assay curate` keeps the longest, or as `policy` says"
    fires: ClassVar[tuple[Example, ...]] = (Example(({"text": STORY}, {"text": EDITED})),)
    silent: ClassVar[tuple[Example, ...]] = (
        Example(({"text": STORY}, {"text": "A row about something else entirely, with words of its own."})),
        Example(({"text": "yes"}, {"text": "no"})),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each row that a kept row stands for, exact and normalised copies included in the search."""
        for index, twin, kind, measure, similarity in self.similar(corpus).dropped.iter_rows():
            place, other = corpus.place(index), corpus.place(twin)
            if place.row_id == other.row_id:
                continue  # exact-duplicate reports it
            yield Hit(
                index,
                f"{similarity:.2f} similar to another row that stays",
                evidence={"kind": kind},
                detail=other.row_id or "",
                twin=twin,
                measure=measure,
                similarity=round(similarity, 4),
            )

    def searched(self, corpus: Corpus) -> list[dict[str, Any]]:
        """The parameters of the search: one entry for each group of rows that was searched by itself."""
        return self.similar(corpus).parameters
