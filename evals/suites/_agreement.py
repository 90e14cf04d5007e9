"""Agreement of the answers to several wordings of one question; lm-eval imports this file from beside a task."""

import math
from collections import Counter
from typing import Any


def answer(document: dict[str, Any], results: list[Any]) -> dict[str, list[str]]:
    """The question that an item belongs to, and what the model answers.

    Args:
        document: with `group` and, of a multiple choice, `choices`.
        results: (log-likelihood, greedy) of each choice, or one text.
    """
    if isinstance(results[0], tuple | list):
        scores = [result[0] for result in results]
        known = all(map(math.isfinite, scores))
        said = document["choices"][scores.index(max(scores))] if known else ""
    else:
        said = " ".join("".join(c if c.isalnum() else " " for c in results[0].lower()).split())
    return {"agreement": [document["group"], said]}


def of_items(values: list[list[str]]) -> list[float]:
    """For each item the share of the other wordings of its question with the same answer; no answer agrees with none.

    Args:
        values: as `answer` gives them.
    """
    sizes = Counter(group for group, _ in values)
    same = Counter((group, said) for group, said in values)
    return [(same[group, said] - 1) / (sizes[group] - 1) if said else 0.0 for group, said in values]


def agreement(values: list[list[str]]) -> float:
    """The mean over all items."""
    return sum(of_items(values)) / len(values)


agreement.items = of_items  # type: ignore[attr-defined]  # where a runner asks for the value of each item
