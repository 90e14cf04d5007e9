"""A row that is an eval item, as it is, in other case, or inside a longer text."""

from __future__ import annotations

from random import Random
from typing import Any

from evals.selftest.plant import Plant, change_text, text_of

MIN_WORDS = 20
"""Shorter questions are compared as a whole, and stand in many texts by chance."""
AROUND = ("Here is something that I found and would like to hear about:", "Thank you for looking at all of it.")


def _long(record: Any) -> bool:
    return len(text_of(record).split()) >= MIN_WORDS


def _copy(record: Any, drawn: Random) -> Any:
    return record if _long(record) else None


def _case(record: Any, drawn: Random) -> Any:
    return change_text(record, str.upper) if _long(record) else None


def _inside(record: Any, drawn: Random) -> Any:
    return change_text(record, lambda text: f"{AROUND[0]} {text} {AROUND[1]}") if _long(record) else None


PLANT = Plant(
    name="contamination",
    what="an eval item among the rows",
    rules=("eval-item", "eval-variant", "eval-overlap", "eval-answer"),
    edits={"copy": _copy, "case": _case, "inside": _inside},
    place="evals",
)
