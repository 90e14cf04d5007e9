"""The same question with another answer."""

from __future__ import annotations

from random import Random
from typing import Any

from evals.selftest.plant import ALIKE, Plant, turns_of

OTHER = ("none of these", "the opposite of that", "nobody can say", "ask again tomorrow")


def _other_answer(record: Any, drawn: Random) -> Any:
    """In a conversation the last answer: what stands before it is the prompt."""
    answers = [(holder, field) for holder, field, role in turns_of(record) if role == "assistant"]
    if not answers:
        return None
    holder, field = answers[-1]
    holder[field] = drawn.choice(OTHER)
    return record


PLANT = Plant(
    name="conflict",
    what="the prompt of another row with a different answer",
    rules=("conflict", "near-conflict"),
    edits={"other_answer": _other_answer},
    apart=ALIKE,
    place="beside",
)
