"""The same question with another answer."""

from __future__ import annotations

from random import Random
from typing import Any

from evals.selftest.plant import ALIKE, Plant, turns_of

OTHER = ("none of these", "the opposite of that", "nobody can say", "ask again tomorrow")


def _other_answer(record: Any, drawn: Random) -> Any:
    """In a conversation the last answer: what stands before it is the prompt, and there must be one."""
    texts = turns_of(record)
    answers = [place for place, (_, _, role) in enumerate(texts) if role == "assistant"]
    if not answers or answers[-1] == 0:
        return None
    holder, field, _ = texts[answers[-1]]
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
