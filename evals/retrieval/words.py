"""The words that passages are searched and measured by, of any script.

Words are runs of letters, marks and digits, in lower case and NFKC. Where words are not written apart (Han, kana, Thai,
Lao, Khmer, Burmese), each character and each two neighbouring ones are words.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import pairwise

import polars as pl

from curate.contamination.words import LINE, STOP, comparable
from curate.dedup.alphabet import UNSPACED, function_words

APART = "".join(f"{chr(first)}-{chr(last)}" for first, last in (*UNSPACED, (0x20000, 0x3FFFF)))
FUNCTION_WORDS = frozenset(function_words())
NOT_APART = re.compile(f"[{APART}]")
"""A character of a script that is written without blanks."""
PIECE = re.compile(rf"[{APART}]{{1,2}}|[^\s{APART}]{{1,64}}")
"""What counts as a word of a passage: what is longer than 64 characters is several, since a file may be one such."""


def word_lists(texts: Sequence[str]) -> Iterator[list[str]]:
    """The words of each text in their order."""
    for text in comparable(pl.Series(texts, dtype=pl.String)):
        yield [word for word in text.split(" ") if word and word not in (LINE, STOP)]


def length(words: Sequence[str]) -> float:
    """How long some words are together; a character of a script without blanks counts as half of one."""
    return sum(0.5 if len(word) == 1 and NOT_APART.match(word) else 1.0 for word in words)


def spoken(text: str) -> str:
    """The words of a text with blanks between and around them, so that what is found in it is found as whole words."""
    (words,) = word_lists([text])
    return f" {' '.join(words)} "


def search_words(texts: Sequence[str]) -> Iterator[list[str]]:
    """What each text is found by: its words, and each two neighbouring characters of scripts without blanks."""
    for words in word_lists(texts):
        yield [*words, *_pairs(words)]


def _pairs(words: Sequence[str]) -> list[str]:
    return [a + b for a, b in pairwise(words) if len(a) == len(b) == 1 and NOT_APART.match(a) and NOT_APART.match(b)]


def content_words(texts: Sequence[str]) -> Iterator[list[str]]:
    """The words of each text that carry its content: numbers, and words of two letters or more but function words.

    Of scripts without blanks, pairs of neighbouring characters, or single ones where there is no pair.
    """
    for words in word_lists(texts):
        apart = [word for word in words if not NOT_APART.match(word) and (len(word) > 1 or word.isdigit())]
        single = [word for word in words if NOT_APART.match(word)]
        yield [word for word in [*apart, *(_pairs(words) or single)] if word not in FUNCTION_WORDS]


def size(text: str) -> int:
    """How long a text is, in words; two characters of a script without blanks count as one."""
    return sum(1 for _ in PIECE.finditer(text))
