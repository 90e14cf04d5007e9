"""As many passages as the context has room for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from evals.retrieval.passages import Passage
from evals.retrieval.words import PIECE


def fit(passages: Sequence[Passage], room: int, count: Callable[[str], int]) -> tuple[list[Passage], bool]:
    """The first passages that fit, the last one of them cut where only its beginning does.

    Args:
        passages: the best one first.
        room: most tokens that all of them may have together; negative leaves none.
        count: tokens of a text.

    Returns:
        The passages, and whether some of them was cut or left out.
    """
    kept: list[Passage] = []
    for passage in passages:
        need = count(passage.text)
        if need <= room:
            kept.append(passage)
            room -= need
            continue
        beginning = _beginning(passage.text, room, count)
        return [*kept, *([replace(passage, text=beginning)] if beginning else [])], True
    return kept, False


def _beginning(text: str, room: int, count: Callable[[str], int]) -> str:
    """As many of the first words as have room; a word more is taken for at least as many tokens."""
    ends = [match.end() for match in PIECE.finditer(text)]
    low, high = 0, len(ends)
    while low < high:
        middle = (low + high + 1) // 2
        if count(text[: ends[middle - 1]]) <= room:
            low = middle
        else:
            high = middle - 1
    return text[: ends[low - 1]] if low else ""
