"""What the rows of a corpus say in answer, and whether an item's answers and choices are among it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Any

import numpy as np
import polars as pl

from curate.contamination.index import ANSWER, CHOICE, EvalIndex, word_hashes
from curate.rows import Corpus

MAX_ANSWER_WORDS = 30
"""Answers of up to so many words are looked for as a whole; longer ones by their runs."""
SHORT_ANSWER_WORDS = 5
"""An answer of up to so many words is given in the same words by whoever gives it."""
NEAR_WORDS = 60
"""Words at the beginning and at the end of what is answered among which an answer counts."""
RARE_ITEMS, RARE_SHARE = 3, 0.005
"""An answer of more items than this number, and this share, is a label: that it matches says little."""
MOST_CHOICES = 0.75
"""Share of an item's choices that a row must name."""
NO, COMMON, RARE = 0, 1, 2


class Spoken:
    """The words of some rows."""

    def __init__(self, corpus: Corpus, index: EvalIndex, rows: set[int]) -> None:
        self._index = index
        chosen = pl.Series("index", sorted(rows), dtype=pl.UInt32)
        turns = corpus.turns.with_row_index("text")
        said = turns.filter(pl.col("index").is_in(chosen.implode()) & pl.col("content").is_not_null())
        answers = said.select(pl.col("role").is_in(["assistant", "reference"]).fill_null(False)).to_series().to_list()
        plain = (said["part"] == "text").to_list()
        self._words, _, offsets = word_hashes(said["content"])
        self._begin = dict(zip(said["text"].to_list(), offsets[:-1].tolist(), strict=True))
        self._said: dict[int, list[tuple[int, int]]] = defaultdict(list)
        self._plain: dict[int, list[tuple[int, int]]] = defaultdict(list)
        self._all: dict[int, list[tuple[int, int]]] = defaultdict(list)
        ends = zip(said["index"].to_list(), offsets[:-1].tolist(), offsets[1:].tolist(), answers, plain, strict=True)
        for row, begin, end, is_answer, is_plain in ends:
            self._all[row].append((begin, end))
            if is_answer:
                self._said[row].append((begin, end))
            elif is_plain:
                self._plain[row].append((begin, end))
        sizes = index.sizes
        short = (index.seg_kind == ANSWER) & (sizes > 0) & (sizes <= MAX_ANSWER_WORDS)
        self._answers = _by_item(index, short)
        self._choices = _by_item(index, (index.seg_kind == CHOICE) & (sizes > 0))
        hashes, counts = np.unique(index.seg_hash[short], return_counts=True)
        self._known, self._items = hashes, counts
        self._rare = max(RARE_ITEMS, RARE_SHARE * index.items.height)

    def comparable(self, row: int, item: int) -> bool:
        """Whether row and item both answer, the item in a way that leaves no choice of words."""
        fixed = any(count <= SHORT_ANSWER_WORDS for _, count in self._answers.get(item, ())) or item in self._choices
        return fixed and bool(self._said.get(row) or self._plain.get(row))

    def answered(self, row: int, item: int, asked: Mapping[str, Any]) -> tuple[int, int]:
        """Whether a short answer of the item stands where the row answers, and whether it does anywhere in an answer.

        Args:
            row: index of the row.
            item: number of the item.
            asked: `text` and `stop`: behind it the answer stands in plain text.

        Returns:
            NO, COMMON, or RARE among the items, each.
        """
        spans = list(self._near(row))
        for begin, end in self._plain.get(row, ()):
            start = self._begin[asked["text"]] + asked["stop"] + 1
            spans.append((start if begin <= start < end else begin, min(end, start + 2 * NEAR_WORDS)))
        everywhere = [*self._said.get(row, ()), *self._plain.get(row, ())]
        near = far = NO
        for value, count in self._answers.get(item, ()):
            if self._holds(everywhere, value, count):
                how = RARE if self._items[np.searchsorted(self._known, value)] <= self._rare else COMMON
                far = max(far, how)
                near = max(near, how) if self._holds(spans, value, count) else near
        return near, far

    def _near(self, row: int) -> list[tuple[int, int]]:
        """The first and the last words of what the row answers."""
        found = []
        for begin, end in self._said.get(row, ()):
            found += [(begin, min(end, begin + NEAR_WORDS)), (max(begin, end - NEAR_WORDS), end)]
        return found

    def holds_choices(self, row: int, item: int) -> bool:
        """Whether the row names nearly all choices of the item."""
        choices = self._choices.get(item, ())
        if len(choices) < 2:
            return False
        held = sum(self._holds(self._all.get(row, []), value, count) for value, count in choices)
        return held >= MOST_CHOICES * len(choices)

    def _holds(self, spans: list[tuple[int, int]], value: np.uint64, count: int) -> bool:
        from curate.contamination.kernel import holds_run

        key = self._index.key_array
        return any(holds_run(self._words, begin, end, count, key, value) >= 0 for begin, end in spans)


def _by_item(index: EvalIndex, chosen: np.ndarray[Any, np.dtype[np.bool_]]) -> dict[int, list[tuple[np.uint64, int]]]:
    """Item -> (hash, words) of each of its chosen segments."""
    found: dict[int, list[tuple[np.uint64, int]]] = defaultdict(list)
    sizes = index.sizes[chosen].tolist()
    for item, value, count in zip(index.seg_item[chosen].tolist(), index.seg_hash[chosen], sizes, strict=True):
        found[item].append((value, count))
    return found
