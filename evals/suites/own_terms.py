"""Does the model know the names and terms of the user's field: the word that a held-out text goes on with, among four.

From each row of the test split one name (a word that only stands there with a capital) or long word that few rows use.
The three others are words of the same kind from other rows, of about the same length. Slice: `kind`.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from evals.dataset_items import AskedRow, sampled
from evals.makers import Given, Made

CHOICES = 4
MIN_CONTEXT, MAX_CONTEXT = 40, 400
"""Characters of the text before the word: fewer say too little."""
COMMON = 0.1
"""A word of more than this share of the rows (and of more than two) is none of the field's terms."""
ENDS = r"(?=[ ,.;:!?)])(?![.:]\w)"
"""What follows a whole word; at the end of a line it may have been cut off."""
NAME = re.compile(r"(?<=[a-z,;)] )[A-Z][a-z]{3,}" + ENDS)
WORD = re.compile(r"(?<![\w'\u2019@./-])[a-z]{8,}" + ENDS)
TASK: dict[str, Any] = {
    "output_type": "multiple_choice",
    "doc_to_text": "context",
    "doc_to_choice": "choices",
    "doc_to_target": "answer",
    "metric_list": [
        {"metric": "acc_norm", "aggregation": "mean", "higher_is_better": True},
        {"metric": "acc", "aggregation": "mean", "higher_is_better": True},
    ],
    "metadata": {"version": 1, "chat_template": "none"},
}


def make(given: Given) -> Made:
    """One item for each row that has a word worth asking for and enough others to choose from."""
    rows = given.rows("test")
    texts = {asked.row.row_id: "\n".join(filter(None, (asked.text, asked.answer))) for asked in rows}
    plain = {word for text in texts.values() for word in re.findall(r"\b[a-z]+\b", text)}
    found = {name: {"name": _terms(text, NAME), "term": _terms(text, WORD)} for name, text in texts.items()}
    used = {kind: Counter(word for of_row in found.values() for word in of_row[kind]) for kind in ("name", "term")}
    most = max(2, int(COMMON * len(rows)))
    pools = {
        kind: sorted(
            word for word, count in words.items() if count <= most and (kind == "term" or word.lower() not in plain)
        )
        for kind, words in used.items()
    }
    asked_for = {asked.row.row_id: asked for asked in rows}
    documents: dict[str, dict[str, Any]] = {}
    for name, text in texts.items():
        document = _item(given, name, text, found[name], pools)
        if document is not None:
            documents[name] = document
    chosen: list[AskedRow] = sampled([asked_for[name] for name in documents], given.limit, given.seed)
    ids = [asked.row.row_id for asked in chosen]
    return Made([documents[name] for name in ids], ids, [asked.row.component for asked in chosen])


def _terms(text: str, pattern: re.Pattern[str]) -> dict[str, int]:
    """Words of a text that nothing before them gives away -> where each stands."""
    found: dict[str, int] = {}
    for match in pattern.finditer(text):
        if text.find(match[0]) == match.start():  # what was said before could be copied
            found[match[0]] = match.start()
    return found


def _item(
    given: Given, row: str, text: str, found: dict[str, dict[str, int]], pools: dict[str, list[str]]
) -> dict[str, Any] | None:
    drawn = given.random("own_terms", row)
    for kind in drawn.sample(sorted(pools), len(pools)):
        pool = pools[kind]
        words = sorted(word for word, place in found[kind].items() if place >= MIN_CONTEXT and word in set(pool))
        if not words:
            continue
        word = drawn.choice(words)
        others = [other for other in pool if other not in text and word not in other]
        if len(others) < CHOICES - 1:
            continue
        drawn.shuffle(others)
        near = sorted(others, key=lambda other: abs(len(other) - len(word)))[: CHOICES - 1]
        choices = [word, *near]
        drawn.shuffle(choices)
        context = text[: found[kind][word]].rstrip()[-MAX_CONTEXT:]
        return {"context": context, "choices": choices, "answer": choices.index(word), "kind": kind}
    return None
