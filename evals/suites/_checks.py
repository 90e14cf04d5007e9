"""Checks of a model's answer by program; lm-eval imports this file from beside a task."""

import json
import re
from typing import Any


def words(answer: str) -> int:
    """Number of words."""
    return len(re.findall(r"\w+(?:['\u2019-]\w+)*", answer))


def sentences(answer: str) -> int:
    """Number of sentences: pieces that end in a full stop, a question mark or an exclamation mark, or at the end."""
    return len([piece for piece in re.split(r"[.!?]+(?:\s+|$)", answer) if words(piece)])


def bullets(answer: str) -> int:
    """Number of lines that begin as items of a list."""
    return len(re.findall(r"^\s*[-*•]\s+\S", answer, re.MULTILINE))


def is_json(answer: str, keys: str) -> bool:
    """Whether the answer is one JSON object with exactly these keys, bare or in a code block."""
    bare = re.sub(r"^```(?:json)?\s*|\s*```$", "", answer.strip())
    try:
        found = json.loads(bare)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and sorted(found) == sorted(keys.split(","))


def mentions(answer: str, word: str) -> bool:
    """Whether the answer has the word, in any case."""
    return re.search(rf"(?<!\w){re.escape(word)}(?!\w)", answer, re.IGNORECASE) is not None


CHECKS = {
    "max_words": lambda answer, value: 0 < words(answer) <= int(value),
    "min_words": lambda answer, value: words(answer) >= int(value),
    "sentences": lambda answer, value: sentences(answer) == int(value),
    "bullets": lambda answer, value: bullets(answer) == int(value),
    "has_word": mentions,
    "lacks_word": lambda answer, value: words(answer) > 0 and not mentions(answer, value),
    "upper_case": lambda answer, _: words(answer) > 0 and answer == answer.upper() and answer != answer.lower(),
    "lower_case": lambda answer, _: words(answer) > 0 and answer == answer.lower() and answer != answer.upper(),
    "begins_with": lambda answer, value: answer.lower().startswith(value.lower()),
    "ends_with": lambda answer, value: answer.rstrip().lower().endswith(value.lower()),
    "json_keys": is_json,
    "no_comma": lambda answer, _: words(answer) > 0 and "," not in answer,
    "quoted": lambda answer, _: words(answer) > 0 and answer[0] == answer[-1] == '"',
}
"""Name -> whether an answer passes, given the check's value as text. An empty answer passes none."""


def score(document: dict[str, Any], results: list[str]) -> dict[str, float]:
    """Whether the answer passes all checks of its item, and the share of them that it passes.

    Args:
        document: with `checks`, each `{kind, value}`.
        results: the answer.
    """
    answer = results[0].strip()
    passed = [bool(CHECKS[check["kind"]](answer, check["value"])) for check in document["checks"]]
    return {"follows_all": float(all(passed)), "follows_share": sum(passed) / len(passed)}
