"""Telling that no two of a few rows can be alike, without compiled code.

Loading the compiled search takes longer than reading a small file, and compiling it, which the first process on a
machine does, much longer. Two rows are compared closely only if they have enough words in common; where no pair of rows
comes near that, there is nothing to search for.
"""

from __future__ import annotations

import re
import unicodedata
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import polars as pl

MOST_ROWS = 1000
MOST_BYTES = 4 << 20
MOST_COUNTS = 1 << 24
"""Rows times distinct words: what is kept of them takes four bytes each."""
MOST_COMPARED = 1 << 29
"""Words times words of the pairs that are aligned: a few tenths of a second."""
TEMPLATE = 0.5
"""Similarity from which rows can be made from one template."""
SLACK = 0.9
"""Words are told apart here in a simpler way than in the search itself: so much of its bound is enough to search."""
UNSEEN = {"Mn", "Me", "Cf"}
BEYOND_ASCII = re.compile("[^\x00-\x7f]+")
WORD = re.compile(
    # One character at a time in scripts that put no spaces between words.
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
    "|[^\\W\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]+"
)


def surely_unlike(text: pl.Series, floor: float) -> bool:
    """Whether no two of the rows can have a similarity of `floor`; False where that cannot be told cheaply.

    Rows are aligned word by word, in order. So no more words match than two rows have in common, however often each
    occurs, and no more than their longest common subsequence has.

    Args:
        text: String Series without nulls.
        floor: smallest similarity, matched / (n + m - matched) of rows of n and m words, that is of interest. Templates
            are of interest from TEMPLATE on.
    """
    if len(text) > MOST_ROWS or int(text.str.len_bytes().sum()) > MOST_BYTES:
        return False
    numbers: dict[str, int] = {}
    rows = [[numbers.setdefault(word, len(numbers)) for word in WORD.findall(_folded(value))] for value in text]
    if len(rows) * len(numbers) > MOST_COUNTS:
        return False
    counts = np.zeros((len(rows), len(numbers)), dtype=np.int32)
    for row, words in enumerate(rows):
        counts[row] = np.bincount(words, minlength=len(numbers))
    sizes = counts.sum(axis=1)
    least = SLACK * min(floor, TEMPLATE)
    share = least / (1 + least)
    compared = 0
    for a in range(len(rows)):
        sums = sizes[a] + sizes[a + 1 :]
        near = np.flatnonzero(np.minimum(sizes[a], sizes[a + 1 :]) >= share * sums) + a + 1
        common = np.minimum(counts[near], counts[a]).sum(axis=1)
        for b in near[common >= share * (sizes[a] + sizes[near])].tolist():
            compared += len(rows[a]) * len(rows[b])
            if compared > MOST_COMPARED or common_length(rows[a], rows[b]) >= share * (sizes[a] + sizes[b]):
                return False
    return True


def common_length(one: list[int], other: list[int]) -> int:
    """Length of the longest common subsequence, one bit a place (Hyyro 2004, "Bit-parallel LCS-length computation")."""
    places: dict[int, int] = {}
    for place, word in enumerate(one):
        places[word] = places.get(word, 0) | 1 << place
    every = free = (1 << len(one)) - 1
    for word in other:
        if met := free & places.get(word, 0):
            free = ((free + met) | (free - met)) & every
    return len(one) - free.bit_count()


def _folded(text: str) -> str:
    """Lower case without accents and without characters that nobody sees."""
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFKD", text).lower()
    return BEYOND_ASCII.sub(_seen, apart)


def _seen(beyond: re.Match[str]) -> str:
    return "".join(char for char in beyond[0] if unicodedata.category(char) not in UNSEEN)
