"""No held-out row among the passages: what a model is shown must not hold the question that it is asked.

The search for eval items in training rows (`curate.contamination`) looks into every passage; then the passages that are
nearest to each row are aligned with it (`evals.retrieval.edited`). A passage that merely says what the answer is stays:
that is what retrieval is for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import orjson

from curate.contamination.index import build_index
from curate.contamination.items import Item
from curate.contamination.verdicts import (
    GATING,
    LEAST_WORDS,
    LONG_WORDS,
    SHORT_WORDS,
    VERBATIM,
    Verdict,
    contamination,
)
from curate.readers import source_from_bytes
from evals.retrieval.edited import MAX_EDGE, SHARE, Edited
from evals.retrieval.passages import AskedAndAnswered, Passage, sentences
from evals.retrieval.search import WordIndex
from evals.retrieval.words import length, spoken, word_lists

NEAREST = 20
"""Passages that are compared with each row at a time."""
SAME, NEAR = "same-words", "near-duplicate"
ALIKE = 0.7
"""Share of the words of a short question and of the longer of both that a sentence must have to be the question."""
ASKS = re.compile("[?\uff1f\u061f\u037e\u1367]")
"""A question mark of any script."""


class Removed(NamedTuple):
    """A passage that is not indexed, and the row for which."""

    passage: Passage
    item_id: str
    why: str
    """`question-and-answer` or `question` where the row stands in it, `same-words` where it is the row,
    `near-duplicate` where it is the row with many words changed, or part of that."""


@dataclass(frozen=True)
class Guarded:
    """The passages that may be indexed, in their order, and the others."""

    kept: list[Passage]
    removed: list[Removed]


def guard(passages: Sequence[Passage], held_out: Sequence[AskedAndAnswered]) -> Guarded:
    """Take out every passage that holds a held-out row, or is a near-duplicate of one.

    Args:
        passages: with distinct ids.
        held_out: every row of the splits that are not trained on, asked or not.
    """
    rows = [row for row in held_out if row.question.strip()]
    if not passages or not rows:
        return Guarded(list(passages), [])
    found = _holding(passages, rows)
    left = [at for at in range(len(passages)) if at not in found]
    found |= {left[at]: removed for at, removed in _edited([passages[at] for at in left], rows).items()}
    kept = [passage for at, passage in enumerate(passages) if at not in found]
    return Guarded(kept, [found[at] for at in sorted(found)])


def _holding(passages: Sequence[Passage], rows: Sequence[AskedAndAnswered]) -> dict[int, Removed]:
    """Passages in which a row stands, word for word or edited, with its answer or without."""
    items = [
        Item("held-out", "held-out", None, at, row.item_id, row.question, (row.answer,) if row.answer.strip() else ())
        for at, row in enumerate(rows)
    ]
    data = b"\n".join(orjson.dumps({"text": passage.text}) for passage in passages)
    index = build_index(items).telling
    verdicts, _ = contamination(source_from_bytes(data), index)
    lengths = [length(words) for words in word_lists([row.question for row in rows])]
    found: dict[int, Removed] = {}
    for verdict in verdicts:  # the worst of a passage comes first
        passage, row = passages[verdict.index], rows[verdict.item]
        if verdict.grade not in GATING or verdict.index in found:
            continue
        if _is_asked(verdict, lengths[verdict.item], passage.text, row):
            found[verdict.index] = Removed(passage, row.item_id, str(verdict.grade))
    return found


def _is_asked(verdict: Verdict, words: float, text: str, row: AskedAndAnswered) -> bool:
    """Whether a passage asks what a row asks, and not only says the answer in the question's words.

    Training rows are searched with less doubt. In a document, "The capital of France is Paris" is what a question about
    it should find.
    """
    exact, edge = verdict.scores.get("exact", 0.0), verdict.scores.get("edge", 0)
    if words < LEAST_WORDS:
        both = spoken(f"{row.question} {row.answer}")
        return both.count(" ") > SHORT_WORDS and both in spoken(text)
    if verdict.whole or (words >= SHORT_WORDS and exact >= VERBATIM):
        return True
    if words >= LONG_WORDS:
        return bool(exact >= SHARE and edge <= MAX_EDGE)
    return _has_sentence(text, row)


def _has_sentence(text: str, row: AskedAndAnswered) -> bool:
    """Whether sentences of a passage are a short question with a few other words, and do not say the answer."""
    asked, answer = list(sentences(row.question)), spoken(row.answer)
    words = Counter(spoken(row.question).split())
    lines, joined = list(sentences(text)), list(sentences(" ".join(text.split())))  # a line may end within a sentence
    for some in dict.fromkeys(" ".join(part[k : k + len(asked)]) for part in (lines, joined) for k in range(len(part))):
        said = Counter(spoken(some).split())
        alike = (words & said).total() >= ALIKE * max(words.total(), said.total())
        tells = answer.strip() and answer in spoken(some) and answer not in spoken(row.question)
        if alike and not tells and (bool(ASKS.search(some)) or not ASKS.search(row.question)):
            return True
    return False


def _edited(passages: Sequence[Passage], rows: Sequence[AskedAndAnswered]) -> dict[int, Removed]:
    """Passages that are a row, or part of one with many words changed: the nearest ones of each row are aligned."""
    asked, answered = [row.question for row in rows], [f"{row.question}\n{row.answer}" for row in rows]
    index, edited = WordIndex(passages), Edited(passages, [*asked, *answered])
    place = {passage.passage_id: at for at, passage in enumerate(passages)}
    found: dict[int, Removed] = {}
    waiting, rank = list(range(len(rows))), 0
    while waiting:
        hits = index.search([answered[row] for row in waiting], rank + NEAREST)
        again = []
        for row, of_row in zip(waiting, hits, strict=True):
            before = len(found)
            for hit in of_row[rank:]:
                at = place[hit.passage.passage_id]
                for member, why in _of_row(edited, row, len(rows), at) if at not in found else ():
                    found.setdefault(member, Removed(passages[member], rows[row].item_id, why))
            again += [row] * (len(found) > before)
        # Where one of the nearest passages was the row, those behind it may be as well.
        waiting, rank = again, rank + NEAREST
    return found


def _of_row(edited: Edited, row: int, rows: int, at: int) -> Iterator[tuple[int, str]]:
    """Passages that a row stands in, the nearest one of which is given, and how."""
    if edited.equal(row, at) or edited.equal(row + rows, at):
        yield at, SAME
    else:
        yield from ((member, NEAR) for member in edited.parts(row, at))
