"""Copies that somebody edited: other case and spacing, typing errors, words left out or added, a sentence cut off."""

from __future__ import annotations

import re
from random import Random
from typing import Any

from evals.selftest.plant import ALIKE, Change, Edit, Plant, change_text, text_of

MIN_WORDS = 40
"""Of shorter texts, an edit of two words may leave less in common than near-duplicates have."""
FILLERS = ("really", "also", "again", "please", "indeed")
SHARE = 0.04
"""Of the words that are changed: two in 40 leave 0.9 in common, and near-duplicates have 0.7."""


def _places(drawn: Random, pieces: list[str]) -> list[int]:
    long = [place for place, word in enumerate(pieces) if len(word) > 4 and word.isalpha()]
    return drawn.sample(long, min(len(long), max(1, round(SHARE * len(pieces) / 2))))  # every other piece is a blank


def _words(change: Any) -> Edit:
    """An edit of a text's words; blanks stay as they are."""

    def edit(record: Any, drawn: Random) -> Any:
        if len(text_of(record).split()) < MIN_WORDS:
            return None

        def changed(text: str) -> str:
            pieces = re.split(r"(\s+)", text)
            for place in _places(drawn, pieces):
                pieces[place] = change(pieces[place], drawn)
            return "".join(pieces)

        return change_text(record, changed)

    return edit


def _typing_error(word: str, drawn: Random) -> str:
    """Two neighbouring letters inside the word change places."""
    place = drawn.randrange(1, len(word) - 2)
    return word[:place] + word[place + 1] + word[place] + word[place + 2 :]


def _of_text(change: Change) -> Edit:
    return lambda record, drawn: None if len(text_of(record).split()) < MIN_WORDS else change_text(record, change)


def _without_last_words(text: str) -> str:
    words = list(re.finditer(r"\S+", text))
    return text[: words[-max(2, len(words) // 20)].start()].rstrip()


PLANT = Plant(
    name="near_duplicate",
    what="an edited copy of another row",
    rules=ALIKE,
    edits={
        "case": _of_text(str.upper),
        "blanks": _of_text(lambda text: re.sub(r"[ \t]+", "  ", text)),
        "typing_errors": _words(_typing_error),
        "words_added": _words(lambda word, drawn: f"{word} {drawn.choice(FILLERS)}"),
        "words_left_out": _words(lambda word, drawn: ""),
        "end_cut_off": _of_text(_without_last_words),
    },
    apart=ALIKE,
    place="beside",
)
