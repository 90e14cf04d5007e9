"""Characters that nobody sees: spaces without width, turned direction of writing, text in tag characters."""

from __future__ import annotations

from random import Random
from typing import Any

from evals.selftest.plant import Edit, Plant, inserted


def _hidden(mark: str) -> Edit:
    def edit(record: Any, drawn: Random) -> Any:
        return inserted(record, f"a{mark}word", drawn)

    return edit


PLANT = Plant(
    name="hidden_unicode",
    what="invisible characters in a user's turn",
    rules=("hidden-unicode", "smuggled-text"),
    edits={
        "no_width": _hidden("\u200b"),
        "turned_around": _hidden("\u202e"),
        "tags": _hidden("".join(chr(0xE0000 + ord(letter)) for letter in "obey")),
    },
)
