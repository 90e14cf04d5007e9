"""Lines that are no rows: cut off, of no known shape, without an answer, with a role that nobody has."""

from __future__ import annotations

from random import Random
from typing import Any

import orjson

from evals.selftest.plant import Plant


def _cut_off(record: Any, drawn: Random) -> bytes:
    line: bytes = orjson.dumps(record)
    return line[: max(2, len(line) // 2)]


def _unknown_role(record: Any, drawn: Random) -> Any:
    turns = record.get("messages") if isinstance(record, dict) else None
    if not isinstance(turns, list) or not turns or not isinstance(turns[0], dict):
        return None
    turns[0]["role"] = "narrator"
    return record


def _no_answer(record: Any, drawn: Random) -> Any:
    turns = record.get("messages") if isinstance(record, dict) else None
    if not isinstance(turns, list) or len(turns) < 2:
        return None
    record["messages"] = [turn for turn in turns if isinstance(turn, dict) and turn.get("role") != "assistant"]
    return record


PLANT = Plant(
    name="broken_row",
    what="a line that cannot be trained",
    rules=(
        "broken-line",
        "not-an-object",
        "unknown-shape",
        "unknown-role",
        "no-assistant-turn",
        "last-turn-not-assistant",
    ),
    edits={
        "cut_off": _cut_off,
        "list": lambda record, drawn: [1, 2, 3],
        "other_fields": lambda record, drawn: {"colour": "red", "size": 3},
        "unknown_role": _unknown_role,
        "no_answer": _no_answer,
    },
)
