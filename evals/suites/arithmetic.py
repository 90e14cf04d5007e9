"""Sums, differences and products that are made from the seed: a general ability that needs no data at all.

Asked as plain text after three worked examples, so that any causal model can be asked. Slices: `operation`, `digits`.
"""

from __future__ import annotations

from typing import Any

from evals.makers import Given, Made

ITEMS = 300
SIGNS = {"sum": "+", "difference": "-", "product": "*"}
TASK: dict[str, Any] = {
    "output_type": "generate_until",
    "doc_to_text": "{{question}} =",
    "doc_to_target": "{{answer}}",
    "num_fewshot": 3,
    "fewshot_delimiter": "\n",
    "fewshot_config": {
        "sampler": "first_n",
        "samples": [
            {"question": "3 + 5", "answer": "8"},
            {"question": "61 - 18", "answer": "43"},
            {"question": "7 * 6", "answer": "42"},
        ],
    },
    "generation_kwargs": {"until": ["\n"], "do_sample": False, "max_gen_toks": 12},
    "filter_list": [
        {
            "name": "number",
            "filter": [{"function": "regex", "regex_pattern": r"(-?[0-9]+)"}, {"function": "take_first"}],
        }
    ],
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    "metadata": {"version": 1, "chat_template": "none"},
}


def make(given: Given) -> Made:
    """As many items as the limit allows; the first of a larger number are those of a smaller one."""
    documents: list[dict[str, str]] = []
    seen = {sample["question"] for sample in TASK["fewshot_config"]["samples"]}
    place = 0
    while len(documents) < (given.limit or ITEMS):
        drawn = given.random("arithmetic", place)
        operation, digits = list(SIGNS)[place % 3], 1 + place // 3 % 3
        first, second = (drawn.randrange(10 ** (digits - 1), 10**digits) for _ in range(2))
        if operation == "product":
            second = drawn.randrange(2, 10)
        answer = {"sum": first + second, "difference": first - second, "product": first * second}[operation]
        question = f"{first} {SIGNS[operation]} {second}"
        place += 1
        if question in seen:
            if place > 100 * ITEMS:  # there are no more questions than these
                break
            continue
        seen.add(question)
        document = {"question": question, "answer": str(answer), "operation": operation, "digits": str(digits)}
        documents.append(document)
    names = [document["question"] for document in documents]
    return Made(documents, names, list(range(len(names))))
