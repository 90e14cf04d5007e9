"""A kind of fault in rows: how one is planted, and which rules must find it."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Literal

from evals.discovery import modules, named

Edit = Callable[[Any, Random], Any]
"""A record and a generator in, the planted record out; bytes are a line as it stands, and null says that this record
does not suit. The record is a copy and may be changed."""
Change = Callable[[str], str]


@dataclass(frozen=True)
class Plant:
    """One kind of fault."""

    name: str
    what: str
    """What is planted, in a sentence."""
    rules: tuple[str, ...]
    """Names of the rules of which one must report a planted row."""
    edits: Mapping[str, Edit]
    """The ways in which it is planted, each tried on rows of its own."""
    apart: tuple[str, ...] = ()
    """Names of rules that tie the user's own rows together; what they report, and its twins, are left as they are:
    what is planted in one of them could be said of the others as well."""
    place: Literal["instead", "beside", "test", "evals"] = "instead"
    """The planted row stands instead of its row; beside it; in the test split, with its row in the training split; or
    instead of it, while its row becomes an eval item."""


ALIKE = (
    "exact-duplicate",
    "normalised-duplicate",
    "near-duplicate",
    "template-variant",
    "prompt-duplicate",
    "answer-duplicate",
)
"""Rules that report rows which are much like others."""


def plants(names: Sequence[str] = ()) -> list[Plant]:
    """The kinds under `evals/selftest/plants/`, or those that are named.

    Raises:
        UserError: there is no such kind.
    """
    known = {module.PLANT.name: module.PLANT for module in modules("evals.selftest.plants")}
    return named(known, names, "kind of planted fault", "--cases")


# ------------------------------------------------------------------------------------------------ texts of a record


def turns_of(record: Any) -> list[tuple[dict[str, Any], str, str]]:
    """(holder, field, role) of every text of a record, in order; what has no role of its own is the user's.

    Args:
        record: chat, prompt and completion, preference or plain text, in any of the usual fields.
    """
    if not isinstance(record, dict):
        return []
    for name in ("messages", "conversations", "conversation"):
        if isinstance(record.get(name), list):
            return [found for turn in record[name] for found in _turn(turn)]
    found = []
    for name, value in record.items():
        if isinstance(value, list):
            found += [one for turn in value for one in _turn(turn)]
        elif isinstance(value, str) and name in TEXT_FIELDS:
            found.append((record, name, TEXT_FIELDS[name]))
    return found


TEXT_FIELDS = {
    **dict.fromkeys(("prompt", "question", "instruction", "input", "text", "user"), "user"),
    **dict.fromkeys(("completion", "answer", "output", "response", "chosen"), "assistant"),
}


def _turn(turn: Any) -> list[tuple[dict[str, Any], str, str]]:
    if not isinstance(turn, dict):
        return []
    role = {"gpt": "assistant", "human": "user"}.get(str(turn.get("role", turn.get("from"))), str(turn.get("role")))
    return [(turn, name, role) for name in ("content", "value") if isinstance(turn.get(name), str)]


def text_of(record: Any, role: str = "user") -> str:
    """The longest text of a role; empty where there is none."""
    return max((holder[name] for holder, name, whose in turns_of(record) if whose == role), key=len, default="")


def change_text(record: Any, change: Change, role: str = "user") -> Any:
    """The record with the longest text of a role changed; null where there is none or nothing changes."""
    found = [(holder, name) for holder, name, whose in turns_of(record) if whose == role]
    if not found:
        return None
    holder, name = max(found, key=lambda place: len(place[0][place[1]]))
    changed = change(holder[name])
    if changed == holder[name]:
        return None
    holder[name] = changed
    return record


def inserted(record: Any, words: str, drawn: Random) -> Any:
    """The record with some words put between two words of the user's longest text."""

    def insert(text: str) -> str:
        gaps = [match.start() for match in re.finditer(r"(?<=\w)\s(?=\w)", text)] or [len(text)]
        place = drawn.choice(gaps)
        return f"{text[:place]} {words}{text[place:]}"

    return change_text(record, insert)


def copied(record: Any) -> Any:
    """A copy that may be changed."""
    return copy.deepcopy(record)
