"""The same question with another answer."""

from __future__ import annotations

from random import Random
from typing import Any

from evals.selftest.plant import ALIKE, Plant, change_text

OTHER = ("none of these", "the opposite of that", "nobody can say", "ask again tomorrow")


def _other_answer(record: Any, drawn: Random) -> Any:
    return change_text(record, lambda text: drawn.choice(OTHER), role="assistant")


PLANT = Plant(
    name="conflict",
    what="the prompt of another row with a different answer",
    rules=("conflict", "near-conflict"),
    edits={"other_answer": _other_answer},
    apart=ALIKE,
    place="beside",
)
