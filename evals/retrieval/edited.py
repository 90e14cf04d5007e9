"""Held-out rows with many words changed, in passages or across the ends of passages.

The search for eval items begins at runs of five equal words, which such a row has few of. Here the passages that are
nearest to a row are aligned with it word by word, together with their neighbours in the document.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from curate.contamination.verdicts import LONG_WORDS
from evals.retrieval.passages import Passage
from evals.retrieval.words import length, word_lists

SHARE = 0.6
"""Share of a row's words, weighted by rarity, that are aligned from which on it is the row."""
MAX_EDGE, END_WORDS, LEAST_AT_END = 3, 6, 2
"""Most words that are not there at the beginning or the end, and least that are among the first and the last six:
otherwise it is a part of the row, without what is asked about it."""
SCATTERED = 1.5
"""Edits are scattered: so many words are not there for each of those that are missing in a row. Fewer are the slot of a
template that was filled in another way."""
OTHER_NUMBERS, ONLY_NUMBERS = 0.5, 0.9
"""Where more than this share of a row's numbers differ, and at least this share of its other words is there, it is
another row of the same kind, with another answer."""
LOOKED_AT = 0.5
"""Share of a row's words that a stretch must have, in any order, to be aligned."""
MOST_WORDS = 1000
"""Of a row that are aligned; of longer ones, the first."""
MEMBER_WORDS = 8
"""Aligned words by which a passage is part of the row; all, where it has fewer."""
Ids = NDArray[np.int64]


class _Stretch(NamedTuple):
    """Some passages of one document in a row."""

    members: list[int]
    words: Ids


class Edited:
    """Finds rows in passages by alignment.

    Args:
        passages: in the order of their documents.
        rows: the words of each row are looked for, as one text.
    """

    def __init__(self, passages: Sequence[Passage], rows: Sequence[str]) -> None:
        known: dict[str, int] = {}
        self._passages = passages
        self._held = [_ids(words, known) for words in word_lists([passage.text for passage in passages])]
        asked = list(word_lists(rows))
        self._lengths = [length(words) for words in asked]
        self._rows = [_ids(words, known)[:MOST_WORDS] for words in asked]
        self._numbers = np.array([any(char.isdigit() for char in word) for word in known], dtype=np.bool_)
        # Words that most rows or most passages share are the task's or the documents' own wording.
        rarity = [
            np.log1p(len(texts) / np.maximum(_documents(texts, len(known)), 1)) for texts in (self._held, self._rows)
        ]
        self._weights = np.minimum(*rarity).astype(np.float32)

    def equal(self, row: int, passage: int) -> bool:
        """Whether a passage is a row, but for case and marks."""
        return bool(len(self._rows[row])) and np.array_equal(self._rows[row], self._held[passage])

    def parts(self, row: int, passage: int) -> list[int]:
        """The passages that are part of a row that stands in this one or begins or ends there; empty if it does not.

        Args:
            row: its number. One of fewer than LONG_WORDS words is not told by its words: a sentence that says the
                answer has most of a short question's.
            passage: its position.
        """
        wanted = self._rows[row]
        if self._lengths[row] < LONG_WORDS:
            return []
        stretch = self._around(passage, len(wanted))
        if len(np.intersect1d(wanted, stretch.words)) < LOOKED_AT * len(np.unique(wanted)):
            return []
        start, shared = _densest(stretch.words.tolist(), Counter(wanted.tolist()), len(wanted))
        if shared < LOOKED_AT * len(wanted):
            return []
        slack = len(wanted) // 4
        low, high = max(0, start - slack), start + len(wanted) + slack
        aligned = self._aligned(wanted, stretch.words[low:high])
        return [] if aligned is None else self._members(stretch, aligned + low)

    def _around(self, at: int, size: int) -> _Stretch:
        """The passage, and of its document as many before and behind as hold so many words."""
        members, document = [at], self._passages[at].document
        for step in (-1, 1):
            other, held = at + step, 0
            while held < size and 0 <= other < len(self._passages) and self._passages[other].document == document:
                members.append(other)
                held += len(self._held[other])
                other += step
        members.sort()
        return _Stretch(members, np.concatenate([self._held[one] for one in members]))

    def _aligned(self, wanted: Ids, words: Ids) -> Ids | None:
        """The places of the words that a row is aligned with; null where it is not the row."""
        from curate.contamination.scoring import EDGE, EXACT, GAP, align_numbers

        aligned, out = np.empty(len(wanted), np.int32), np.zeros(12)
        align_numbers(wanted, words, self._weights[wanted], aligned, out)
        there = aligned >= 0
        in_a_row, missing = max(out[GAP], out[EDGE]), len(wanted) - int(there.sum())
        if out[EXACT] < SHARE or out[EDGE] > MAX_EDGE or (in_a_row > 1 and missing < SCATTERED * in_a_row):
            return None
        if min(there[:END_WORDS].sum(), there[-END_WORDS:].sum()) < LEAST_AT_END:
            return None
        numbers = self._numbers[wanted]
        if numbers.any() and there[numbers].mean() < OTHER_NUMBERS and there[~numbers].mean() >= ONLY_NUMBERS:
            return None
        return aligned[there].astype(np.int64)

    def _members(self, stretch: _Stretch, places: Ids) -> list[int]:
        sizes = np.array([len(self._held[one]) for one in stretch.members])
        owner = np.searchsorted(np.cumsum(sizes), places, side="right")
        held = np.bincount(owner, minlength=len(sizes))
        return [
            one
            for one, size, count in zip(stretch.members, sizes, held, strict=True)
            if 0 < min(MEMBER_WORDS, size) <= count
        ]


def _ids(words: Sequence[str], known: dict[str, int]) -> Ids:
    return np.array([known.setdefault(word, len(known)) for word in words], dtype=np.int64)


def _documents(texts: Sequence[Ids], size: int) -> NDArray[np.float64]:
    """In how many texts each word stands."""
    found = np.zeros(size)
    for text in texts:
        found[np.unique(text)] += 1
    return found


def _densest(words: Sequence[int], wanted: Counter[int], size: int) -> tuple[int, int]:
    """(start, shared words) of the first run of so many words that shares most with those wanted, counting repeats."""
    left, shared = Counter(wanted), 0
    best = (0, -1)
    for stop, word in enumerate(words, start=1):
        shared += left[word] > 0
        left[word] -= 1
        if stop > size:
            gone = words[stop - size - 1]
            left[gone] += 1
            shared -= left[gone] > 0
        if shared > best[1]:
            best = (max(0, stop - size), shared)
    return best
