"""The dataset's own test split, asked exactly as training asked it.

Where the answers are labels the model chooses among them, and accuracy counts; where they are free text, the score is
how many bits the model needs for a byte of the answer that was held out. Slices: `label`, and the rows' metadata.
"""

from __future__ import annotations

from typing import Any

from evals.makers import Given, Made
from evals.tasks import Reference

TASK: dict[str, Any] = {
    "dataset_path": "dataset:test",
    "doc_to_text": "prompt",
    "doc_to_target": "answer",
    "target_delimiter": "",
    "metadata": {"version": 1, "chat_template": "rendered"},
}
LIKELIHOOD: dict[str, Any] = {
    "output_type": "loglikelihood",
    "process_results": Reference("_likelihood.bits_per_byte"),
    "metric_list": [{"metric": "bits_per_byte", "aggregation": "mean", "higher_is_better": False}],
}


def make(given: Given) -> Made:
    """The form of the task; its items are the rows of the test split."""
    labels = given.labels()
    if not labels:
        return Made(config=LIKELIHOOD)
    metric = {"metric": "acc", "aggregation": "mean", "higher_is_better": True}
    return Made(config={"output_type": "multiple_choice", "doc_to_choice": labels, "metric_list": [metric]})
