"""What one item is worth, read from the samples that lm-eval logs."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from numbers import Real
from pathlib import Path
from typing import Any

from schemas.errors import UserError

RATES: dict[str, Callable[[float, int], float]] = {
    "bits_per_byte": lambda nats, count: -nats / count / math.log(2),
    "byte_perplexity": lambda nats, count: math.exp(-nats / count),
    "word_perplexity": lambda nats, count: math.exp(-nats / count),
}
"""lm-eval's rolling metrics: what one text with this log-likelihood and count of bytes or words is worth."""


@dataclass(frozen=True)
class ItemScore:
    """One item scored by one model."""

    position: int
    target: str
    prediction: str
    score: float | None
    """Null where the model failed."""
    detail: str
    """JSON: log-likelihoods by choice, or the response."""
    prompt_sha256: str
    sample: int = 0
    """Of several answers to the item."""


def each_sample(task: Any, samples: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of a task with `repeats`, whose answers no filter of its own joins: every answer, scored for itself.

    lm-eval asks as often as the task says and scores the first answer alone.
    """
    if task.OUTPUT_TYPE != "generate_until" or task.config.filter_list or (task.config.repeats or 1) < 2:
        return samples
    found = []
    for sample in samples:
        for number, answer in enumerate(sample["resps"][0]):
            values = task.process_results(sample["doc"], [answer])
            found.append(sample | {"filtered_resps": [answer], "sample": number} | values)
    return found


def set_item_values(task: Any, samples: list[dict[str, Any]], metric: str, where: Path) -> None:
    """Turn what a metric's aggregation takes into a value of each item, where there is a way.

    lm-eval's rolling metrics keep (log-likelihood, count) and weigh texts by their length; here each text has its own
    rate. An aggregation function with an attribute `items` says itself what each of its values is worth.
    """
    rate, of_items = RATES.get(metric), getattr(task.aggregation()[metric], "items", None)
    values = [sample.get(metric) for sample in samples]
    try:
        if of_items is not None:
            values = list(of_items(values))
        elif rate is not None:
            values = [rate(*value) if isinstance(value, tuple) else value for value in values]
        for sample, value in zip(samples, values, strict=True):
            sample[metric] = value
    except Exception as error:  # Python of a task, or a text without bytes or words
        raise UserError(
            f"the metric {metric!r} has no value for a single item",
            where=str(where),
            found=f"{type(error).__name__}: {error}"[:300],
        ) from error


def item_score(task: Any, sample: dict[str, Any], metric: str, where: Path, *, failed: bool) -> ItemScore:
    """One item scored by one model.

    Args:
        task: lm-eval's task.
        sample: as lm-eval logs it.
        metric: whose value counts.
        where: the task file, for messages.
        failed: whether the model failed on the item.

    Raises:
        UserError: the metric has no value for the item.
    """
    value = sample.get(metric)
    if isinstance(value, bool) or not isinstance(value, Real):
        value = float(value) if isinstance(value, bool) else _no_item_value(metric, where)
    detail: dict[str, Any]
    choices: list[str] = []
    if task.OUTPUT_TYPE == "multiple_choice":
        choices = [str(choice) for choice in task.doc_to_choice(sample["doc"])]
        scores = [float(response[0][0]) for response in sample["resps"]]
        failed = failed or not all(map(math.isfinite, scores))
        detail = {"choices": choices, "log_likelihoods": [score if math.isfinite(score) else None for score in scores]}
        prediction = "" if failed else choices[max(range(len(choices)), key=lambda place: scores[place])]
    else:
        response = sample["filtered_resps"][0]
        parts = response if isinstance(response, list | tuple) else [response]
        failed = failed or not all(math.isfinite(part) for part in parts if isinstance(part, float))
        prediction = "" if failed or isinstance(response, float) else str(response)
        scored = task.OUTPUT_TYPE in ("loglikelihood", "loglikelihood_rolling")
        detail = {"log_likelihood": None if failed else float(parts[0])} if scored else {"response": prediction}
    target = sample["target"]
    shown = choices[target] if choices and isinstance(target, int) else target
    return ItemScore(
        position=int(sample["doc_id"]),
        target=shown if isinstance(shown, str) else json.dumps(shown, ensure_ascii=False),
        prediction=prediction,
        score=None if failed or not math.isfinite(value) else float(value),
        detail=json.dumps(detail, ensure_ascii=False),
        prompt_sha256=hashlib.sha256(str(sample["arguments"][0][0]).encode("utf-8", "surrogatepass")).hexdigest(),
        sample=int(sample.get("sample", 0)),
    )


def _no_item_value(metric: str, where: Path) -> float:
    raise UserError(
        f"the metric {metric!r} has no value for a single item, so base and tuned cannot be compared item by item",
        where=str(where),
        expected="a metric such as acc, exact_match or f1 of each item, first in metric_list",
        help="put another metric first in metric_list",
    )
