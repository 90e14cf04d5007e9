"""What every character is to the split proof: part of a word, a word of its own, or between words.

The proof's own table, made from the Unicode database and shared with nothing. A word is a run of letters, marks,
numbers and underscores of NFKC text, each character in lower case; in scripts that are written without spaces each
of them is a word. Text is seldom brought to NFKC for that: a character that NFKC turns into one other character is
given that one's class, and the table says which characters make it necessary to normalise the row.
"""

from __future__ import annotations

import unicodedata
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

# An entry: the lower-case code point, these bits, and the canonical combining class from bit 24 on.
CODE_MASK, IN_WORD, ALONE, UNSTABLE, COMBINING_SHIFT = 0x1FFFFF, 1 << 21, 1 << 22, 1 << 23, 24
TABLE_SIZE, IDEOGRAPHS_END = 0x20000, 0x40000
"""Code points beyond the table and below the end are ideographs, later ones are between words."""
COMPATIBLE, COMPATIBLE_END = 0x2F800, 0x2FA20
"""Ideographs beyond the table that NFKC changes."""

_ALONE = (
    (0x0E00, 0x1000), (0x1000, 0x10A0), (0x1780, 0x1800), (0x3005, 0x3008), (0x3040, 0x3100), (0x31F0, 0x3200),
    (0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00),
)  # fmt: skip
# Long runs whose characters are all letters that NFKC and lower case leave as they are.
_IDEOGRAPHS = ((0x3400, 0x4DC0), (0x4E00, 0xA000))
_SYLLABLES = (0xAC00, 0xD7A4)


@cache
def word_classes() -> NDArray[np.uint32]:
    """The entries of the first TABLE_SIZE code points (about 0.15 s, once a process)."""
    table = np.zeros(TABLE_SIZE, dtype=np.uint32)
    for first, end in (*_IDEOGRAPHS, _SYLLABLES):
        table[first:end] = np.arange(first, end) | IN_WORD
    for first, end in _IDEOGRAPHS:
        table[first:end] |= ALONE
    joining = _joining()
    for code in _looked_up():
        table[code] = _entry(chr(code), joining)
    return table


def _looked_up() -> Iterator[int]:
    """Code points of the table outside the long runs."""
    before = 0
    for first, end in (*_IDEOGRAPHS, _SYLLABLES, (TABLE_SIZE, TABLE_SIZE)):
        yield from range(before, first)
        before = end


def _joining() -> set[str]:
    """Characters that may make one character with what stands before them (a superset of NFC_Quick_Check=Maybe)."""
    found = {chr(code) for code in (*range(0x1161, 0x1176), *range(0x11A8, 0x11C3))}
    for code in _looked_up():
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and parts[0][0] != "<":
            found.add(chr(int(parts[1], 16)))
    return found


def _entry(char: str, joining: set[str]) -> int:
    """The entry of one character."""
    if unicodedata.category(char) in ("Cn", "Co", "Cs", "Cc"):
        return 0
    plain = unicodedata.normalize("NFKC", char)
    combining = unicodedata.combining(char)
    if (
        plain != char
        and len(plain) == 1
        and not combining
        and plain not in joining
        and not unicodedata.combining(plain)
    ):
        return _class_of(plain)
    entry = _class_of(char) | combining << COMBINING_SHIFT
    changes = plain != char and any(_class_of(part) for part in plain)
    return entry | UNSTABLE if changes or char in joining else entry


def _class_of(char: str) -> int:
    """Class and lower case of a character of NFKC text; 0 between words."""
    if char != "_" and unicodedata.category(char)[0] not in "LMN":
        return 0
    # The last letter of a Greek word has a form of its own; no other lower case depends on where a letter stands.
    lower = char.lower()[0].replace("\N{GREEK SMALL LETTER FINAL SIGMA}", "\N{GREEK SMALL LETTER SIGMA}")
    alone = any(first <= ord(char) < end for first, end in _ALONE)
    return ord(lower) | IN_WORD | (ALONE if alone else 0)
