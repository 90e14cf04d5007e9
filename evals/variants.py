"""A row's prompt written in another way, by rule, so that the same answer (or one that follows) is right."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from curate.configfile import Project
from curate.supervision import SupervisionError, Supervisor
from evals.scoring import LossRow
from train.rows import SplitRow

Turn = Mapping[str, Any]
Written = tuple[str, str] | None
"""Prompt and answer; null where the rule changes nothing of this row."""

OPTION = re.compile(r"^([A-H])([).:])[ \t]+(\S.*)$", re.MULTILINE)
LETTER = re.compile(r"^\W*([A-H])\W*$")
NUMBER = re.compile(r"(?<![\w.,])\d{2,9}(?![\w]|[.,]\d)")


def in_other_case(prompt: str, answer: str) -> Written:
    """All small letters, or capitals where they are small already."""
    changed = prompt.lower() if prompt != prompt.lower() else prompt.upper()
    return None if changed == prompt else (changed, answer)


def in_other_space(prompt: str, answer: str) -> Written:
    """Two spaces for one, and an empty line at the end."""
    return (re.sub(r"(?<=\S) (?=\S)", "  ", prompt) + "\n", answer) if prompt.strip() else None


def politely(prompt: str, answer: str) -> Written:
    """The same request in a frame of polite words."""
    return (f"Could you help me with this, please?\n\n{prompt}\n\nThank you.", answer) if prompt.strip() else None


def in_other_order(prompt: str, answer: str) -> Written:
    """Lettered options moved up by one place; an answer that is a letter follows its option."""
    options = list(OPTION.finditer(prompt))
    letters = [found[1] for found in options]
    if len(options) < 2 or letters != [chr(ord("A") + k) for k in range(len(options))]:
        return None
    texts = [found[3] for found in options]
    moved = iter([*texts[1:], texts[0]])
    changed = OPTION.sub(lambda found: f"{found[1]}{found[2]} {next(moved)}", prompt)
    named = LETTER.match(answer)
    if named and named[1] in letters:
        place = (letters.index(named[1]) - 1) % len(letters)
        answer = answer.replace(named[1], letters[place])
    elif changed == prompt:
        return None
    return changed, answer


def with_other_numbers(prompt: str, answer: str) -> Written:
    """Numbers that prompt and answer share replaced by others of as many digits, in both alike."""
    shared = set(NUMBER.findall(prompt)) & set(NUMBER.findall(answer))
    if not shared:
        return None
    other = {number: _another(number) for number in shared}

    def replaced(text: str) -> str:
        return NUMBER.sub(lambda found: other.get(found[0], found[0]), text)

    return replaced(prompt), replaced(answer)


def _another(number: str) -> str:
    drawn = int.from_bytes(hashlib.sha256(number.encode()).digest()[:8], "big")
    low = 10 ** (len(number) - 1)
    found = low + drawn % (9 * low)
    return str(found if str(found) != number else low + (drawn + 1) % (9 * low))


VARIANTS: dict[str, Callable[[str, str], Written]] = {
    "case": in_other_case,
    "space": in_other_space,
    "frame": politely,
    "order": in_other_order,
    "numbers": with_other_numbers,
}


def asks_for_variants(project: Project) -> bool:
    """Whether the gate's config names the measurement that reads rows in other ways."""
    return project.config.gates.model.overfitting.get("perturbation", "off") != "off"


def variant_rows(supervisor: Supervisor, split: str, rows: Sequence[SplitRow]) -> list[LossRow]:
    """Every row in every other way that applies to it; its last user turn is the prompt that is changed.

    Args:
        supervisor: of the base model.
        split: of the rows.
        rows: conversations that end in an answer; others have no variants.
    """
    made: list[tuple[SplitRow, str, list[Turn]]] = []
    for row in rows:
        turns = list(row.messages)
        asked = turns[-2] if len(turns) > 1 else {}
        if asked.get("role") != "user" or not all(isinstance(turn.get("content"), str) for turn in turns[-2:]):
            continue
        for name, write in VARIANTS.items():
            written = write(asked["content"], turns[-1]["content"])
            if written is not None:
                changed = [{**asked, "content": written[0]}, {**turns[-1], "content": written[1]}]
                made.append((row, name, [*turns[:-2], *changed]))
    encoded = supervisor.encode_rows([turns for *_, turns in made], [row.tools for row, *_ in made])
    return [
        LossRow(split, row.row_id, row.component, supervised, name)
        for (row, name, _), supervised in zip(made, encoded, strict=True)
        if not isinstance(supervised, SupervisionError)
    ]
