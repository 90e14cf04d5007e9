"""Two texts side by side, their differences marked."""

from __future__ import annotations

import re
from collections.abc import Sequence
from difflib import SequenceMatcher
from itertools import groupby

from curate.outputs.page import Safe, html_text

WORD = re.compile(r"\w+|\s+|[^\w\s]")
MAX_WORDS = 240
"""Words of each side that are compared: the cost of a comparison grows with their square."""
CONTEXT_WORDS = 12
"""Words shown of what both texts begin with, where it is long."""
CUT = "…"


def side_by_side(left: str, right: str) -> tuple[Safe, Safe]:
    """Both texts as HTML from shortly before their first difference on; what only one of them has is in `del` or `ins`.

    Args:
        left: the text that stays, of any length.
        right: the other.
    """
    a, b = _opened(left, right)
    matcher = SequenceMatcher(None, a, b, autojunk=False)
    lefts: list[tuple[bool, str]] = []
    rights: list[tuple[bool, str]] = []
    for kind, a_from, a_to, b_from, b_to in matcher.get_opcodes():
        lefts += [(kind != "equal", word) for word in a[a_from:a_to]]
        rights += [(kind != "equal", word) for word in b[b_from:b_to]]
    return _marked(lefts, "del"), _marked(rights, "ins")


def _opened(left: str, right: str) -> tuple[list[str], list[str]]:
    """The words to compare: a long common beginning is cut to its end, and both sides to MAX_WORDS."""
    start = max(0, _common(left, right) - 2000)
    a, b = _words(left[start:]), _words(right[start:])
    same = _common(a, b)
    skip = max(0, same - CONTEXT_WORDS) if same > 4 * CONTEXT_WORDS and same < max(len(a), len(b)) else 0
    cut = [CUT] if start or skip else []
    return _end(cut + a[skip:]), _end(cut + b[skip:])


def _common(left: Sequence[str], right: Sequence[str]) -> int:
    """How many items both begin with."""
    pairs = enumerate(zip(left, right, strict=False))
    return next((n for n, (one, other) in pairs if one != other), min(len(left), len(right)))


def _words(text: str) -> list[str]:
    # A bounded piece holds MAX_WORDS words or more, or is one enormous word that is cut like everything else.
    return WORD.findall(text[:20_000])


def _end(words: Sequence[str]) -> list[str]:
    cut = [word if len(word) <= 200 else word[:199] + CUT for word in words[:MAX_WORDS]]
    return [*cut, CUT] if len(words) > MAX_WORDS else cut


def _marked(words: list[tuple[bool, str]], tag: str) -> Safe:
    parts = []
    for differs, run in groupby(words, key=lambda word: word[0]):
        text = "".join(visible(word) for _, word in run)
        parts.append(f"<{tag}>{text}</{tag}>" if differs else text)
    return Safe("".join(parts))


def visible(text: str) -> str:
    """Text as HTML in which line breaks and tabs stay what they are; other controls are escaped."""
    return "".join(part if part in "\n\t" else html_text(part) for part in re.split(r"([\n\t])", text) if part)
