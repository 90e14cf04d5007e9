"""Small puzzles of reasoning-gym (Apache-2.0, `pip install reasoning-gym`), made from the seed and checked exactly.

Puzzles whose answer is one word or number, so that comparing texts decides. Slice: `kind`.
"""

from __future__ import annotations

import importlib
from typing import Any

from evals.makers import Given, Made

KINDS = (
    "aiw", "calendar_arithmetic", "chain_sum", "family_relationships", "gcd", "leg_counting", "letter_counting",
    "number_sequence", "spell_backward", "syllogism", "time_intervals",
)  # fmt: skip
ITEMS = 220
TASK: dict[str, Any] = {
    "output_type": "generate_until",
    "doc_to_text": "{{question}}\nGive only the answer, without any explanation.",
    "doc_to_target": "{{answer}}",
    "generation_kwargs": {"until": ["\n"], "do_sample": False, "max_gen_toks": 24},
    "metric_list": [
        {
            "metric": "exact_match",
            "aggregation": "mean",
            "higher_is_better": True,
            "ignore_case": True,
            "regexes_to_ignore": [r"^\s+", r"[\s.]+$"],
        }
    ],
    "metadata": {"version": 1, "packages": ["reasoning-gym"]},
}


def make(given: Given) -> Made:
    """The kinds in turn; a puzzle's name is its kind and number, so that another limit gives it the same name."""
    reasoning_gym = importlib.import_module("reasoning_gym")
    count = given.limit or ITEMS
    each = -(-count // len(KINDS))
    puzzles = {kind: reasoning_gym.create_dataset(kind, seed=given.seed, size=each) for kind in KINDS}
    names = [(kind, number) for number in range(each) for kind in KINDS][:count]
    found = [puzzles[kind][number] for kind, number in names]
    documents = [
        {"question": puzzle["question"].strip(), "answer": str(puzzle["answer"]).strip(), "kind": kind}
        for (kind, _), puzzle in zip(names, found, strict=True)
    ]
    return Made(documents, [f"{kind}-{number}" for kind, number in names], list(range(count)))
