"""What an eval asks and wants to hear: items out of records of any shape, lm-eval tasks and plain text."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from curate.contamination.tasks import EvalTask
from curate.readers.builder import ROW_ID_HEX
from curate.rows import Corpus
from schemas.base import canonical_json, digest

QUESTIONS = (
    "question", "prompt", "query", "problem", "question_text", "problem_statement", "ctx", "goal", "instruction",
    "input", "sentence", "premise", "text",
)  # fmt: skip
"""Fields that may hold what is asked; the first one that a record has is taken."""
ANSWERS = (
    "answer", "target", "gold", "ground_truth", "correct_answer", "reference", "solution", "completion", "response",
    "output", "final_answer", "answerkey", "answer_key", "label", "answers", "best_answer", "canonical_solution",
    "code",
)  # fmt: skip
CHOICES = ("choices", "options", "endings", "candidates", "alternatives")
PASSAGES = ("passage", "context", "article", "document", "story", "support", "background")
MESSAGES = ("messages", "conversations", "conversation")
LETTER = re.compile(r"\(?([A-Ja-j])[).:]?$")
OPTION_MARK = re.compile(r"^\s*(?:\(?[A-Ja-j1-9][).:]\s+)")
FINAL = re.compile(r"####\s*(\S.*?)\s*$|\\boxed\{([^{}]{1,200})\}")
"""How GSM8K and MATH mark the final answer at the end of a solution."""
MAX_FIELD_CHARS = 1_000_000


@dataclass(frozen=True)
class Item:
    """One item of an eval set."""

    eval_set: str
    path: str
    line: int | None
    row: int
    row_id: str | None
    """Digest of the record; null where it could not be read, so that nobody knows what it asks."""
    question: str
    answers: tuple[str, ...] = ()
    """What counts as right: the answer as it stands, and its final part where one is marked."""
    choices: tuple[str, ...] = ()
    passage: str = ""


def eval_items(evals: Corpus) -> Iterator[Item]:
    """The items of all records in their order; of one that cannot be read, an item without row id that asks nothing."""
    for index, source, row_id in evals.rows.select("index", "source", "row_id").iter_rows():
        place = evals.place(index)
        path = evals.sources[source].path
        task = evals.tasks.get(path)
        record = None if row_id is None else evals.record(index)
        # Of the whole record: a row's own id leaves out choices and passages, by which equal questions differ.
        name = None if row_id is None else digest(canonical_json(record))[:ROW_ID_HEX]
        yield Item(task.name if task else Path(path).stem, path, place.line, place.row, name, *parts_of(record, task))


def parts_of(record: Any, task: EvalTask | None = None) -> tuple[str, tuple[str, ...], tuple[str, ...], str]:
    """(question, answers, choices, passage) of one record; each empty where the record has none.

    Args:
        record: of any shape.
        task: the task file that names its fields, if there is one.
    """
    if isinstance(record, str):
        return record[:MAX_FIELD_CHARS], (), (), ""
    if not isinstance(record, dict):
        return "", (), (), ""
    if any(isinstance(record.get(name), list) for name in MESSAGES):
        return _of_conversation(record)
    fields = {str(key).strip().lower().replace(" ", "_"): value for key, value in record.items()}
    choices = _choices(fields)
    question = _named(record, task.question if task else (), (*CHOICES, *PASSAGES)) or _question(fields)
    told = _named(record, task.answer if task else (), CHOICES)
    answers = _answers({"answer": _value(record, task)} if told and task else fields, choices)
    passage = next((text for name in PASSAGES if (text := text_of(fields.get(name)))), "")
    if not question:
        question = max(strings_of(record), key=len, default="")
    return question[:MAX_FIELD_CHARS], answers, choices, passage[:MAX_FIELD_CHARS]


def _of_conversation(record: Mapping[str, Any]) -> tuple[str, tuple[str, ...], tuple[str, ...], str]:
    """What the user says last, the last answer, and what users said before, which no single turn of a row holds."""
    turns = next(record[name] for name in MESSAGES if isinstance(record.get(name), list))
    said = [
        (str(turn.get("role", turn.get("from"))), text_of(turn.get("content", turn.get("value"))))
        for turn in turns
        if isinstance(turn, dict)
    ]
    asked = [text for role, text in said if role in ("user", "human") and text]
    answers = [text for role, text in said if role in ("assistant", "gpt", "model") and text]
    question = asked[-1] if asked else ""
    return question[:MAX_FIELD_CHARS], _with_final(answers[-1:]), (), "\n".join(asked[:-1])[:MAX_FIELD_CHARS]


def _named(record: Mapping[str, Any], names: Sequence[str], elsewhere: Sequence[str]) -> str:
    """The texts of the fields with these names, but for those that are told apart from them."""
    texts = [text_of(record[name]) for name in names if name in record and name.lower() not in elsewhere]
    return "\n".join(text for text in texts if text)


def _value(record: Mapping[str, Any], task: EvalTask) -> Any:
    """What the task's `doc_to_target` names: one field as it stands, several as text."""
    names = [name for name in task.answer if name in record and name.lower() not in CHOICES]
    return record[names[0]] if len(names) == 1 else _named(record, names, CHOICES)


def _question(fields: Mapping[str, Any]) -> str:
    found = [(name, text) for name in QUESTIONS if (text := text_of(fields.get(name)))]
    if not found:
        return ""
    # An instruction says how to treat an input; both are the question.
    both = dict(found)
    if {"instruction", "input"} <= both.keys():
        return f"{both['instruction']}\n{both['input']}"
    return found[0][1]


def _choices(fields: Mapping[str, Any]) -> tuple[str, ...]:
    for name in CHOICES:
        value = fields.get(name)
        if isinstance(value, dict):  # {"text": [...], "label": [...]} or {"A": ..., "B": ...}
            value = value.get("text", list(value.values()))
        if isinstance(value, list):
            texts = [text_of(item.get("text") if isinstance(item, dict) else item) for item in value]
            return tuple(OPTION_MARK.sub("", text) for text in texts if text)
    lettered = [text for letter in "abcdefghij" if (text := text_of(fields.get(letter)))]
    numbered = [text for n in range(1, 10) if (text := text_of(fields.get(f"incorrect_answer_{n}")))]
    return tuple(lettered or numbered)


def _answers(fields: Mapping[str, Any], choices: Sequence[str]) -> tuple[str, ...]:
    value = next((fields[name] for name in ANSWERS if fields.get(name) not in (None, "", [])), None)
    if isinstance(value, dict):
        value = value.get("text", value.get("value"))
    found = [text for item in (value if isinstance(value, list) else [value]) if (text := text_of(item))]
    if choices and len(found) == 1:
        found = [_chosen(found[0], value, choices)]
    return _with_final(found)


def _chosen(text: str, value: Any, choices: Sequence[str]) -> str:
    """The text of the choice that an index or a letter names."""
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < len(choices):
        return choices[value]
    letter = LETTER.match(text.strip())
    place = ord(letter[1].lower()) - ord("a") if letter else -1
    return choices[place] if 0 <= place < len(choices) else text


def _with_final(answers: Sequence[str]) -> tuple[str, ...]:
    found = dict.fromkeys(text[:MAX_FIELD_CHARS] for text in answers)
    for text in answers:
        if marked := FINAL.search(text[-400:]):
            found[marked[1] or marked[2]] = None
    return tuple(found)


def text_of(value: Any) -> str:
    """A field as text: text itself, a number, or the contents of a list of messages; empty for anything else."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return orjson.dumps(value, option=orjson.OPT_PASSTHROUGH_SUBCLASS).decode() if abs(value) < 1 << 53 else ""
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        texts = [text_of(item.get("content", item.get("text"))) for item in value if item.get("role") != "system"]
        return "\n".join(text for text in texts if text)
    return ""


def strings_of(value: Any) -> list[str]:
    """Every text in a JSON value."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.values() for text in strings_of(item)]
    if isinstance(value, list):
        return [text for item in value for text in strings_of(item)]
    return []
