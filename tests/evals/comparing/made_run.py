"""Folders as a comparison writes them, with answers of known quality."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from evals.comparing.tables import AGREEMENT, ANSWERS, LATENCY

MODELS = {"classical": "none", "tuned": "tuned", "tuned_rag": "tuned", "full": "full", "endpoint": "endpoint"}
TITLES = {
    "classical": "TF-IDF and logistic regression",
    "zero_shot": "zero-shot prompt",
    "few_shot": "few-shot prompt",
    "rag": "retrieval",
    "tuned": "fine-tuned",
    "tuned_rag": "fine-tuned with retrieval",
    "full": "full fine-tuning",
    "endpoint": "outside model",
}
SECONDS = {"classical": 0.001, "zero_shot": 0.2, "few_shot": 0.6, "rag": 0.5, "tuned": 0.2, "tuned_rag": 0.5}


def right_of(items: int, right: int) -> list[float]:
    """Scores of an arm that is right on the first items only: better arms are right wherever worse ones are."""
    return [1.0] * right + [0.0] * (items - right)


def arm(name: str, **changes: Any) -> dict[str, Any]:
    """An arm as arms.json lists it."""
    about = {
        "name": name,
        "title": TITLES.get(name, name),
        "status": "ran",
        "reason": "",
        "model": MODELS.get(name, "base"),
        "facts": {},
        "fixed_seconds": 600.0 if name.startswith("tuned") else 0.0,
        "price": None,
    }
    return about | changes


def made_run(
    folder: Path,
    scores: Mapping[str, Sequence[float | None]],
    *,
    arms: Sequence[dict[str, Any]] | None = None,
    floor: Sequence[float] | None = None,
    clusters: Sequence[int] | None = None,
    metric: str = "label",
    **about: Any,
) -> Path:
    """Write the four files.

    Args:
        folder: where.
        scores: arm -> score of each item; null failed.
        arms: as in arms.json; null lists those with scores.
        floor: score of the most frequent label on each item.
        clusters: of the items; null makes them independent.
        metric: that was scored.
        about: further keys of arms.json.
    """
    folder.mkdir(parents=True, exist_ok=True)
    items = len(next(iter(scores.values()), []))
    groups = list(range(items)) if clusters is None else list(clusters)
    ids = [f"item-{place:04}" for place in range(items)]
    answers = [
        answer(name, ids[k], groups[k], score, k) for name, given in scores.items() for k, score in enumerate(given)
    ]
    pl.DataFrame(answers, schema=ANSWERS, orient="row").write_parquet(folder / "answers.parquet")
    same = [(name, ids[k], "in_other_case", "x", k % 5 != 0) for name in scores for k in range(min(items, 20))]
    pl.DataFrame(same, schema=AGREEMENT, orient="row").write_parquet(folder / "agreement.parquet")
    rng = np.random.default_rng(0)
    timed = [
        (name, ids[k], SECONDS.get(name, 0.3) * float(rng.uniform(0.8, 1.2)), 50, 4)
        for name in scores
        for k in range(min(items, 8))
    ]
    pl.DataFrame(timed, schema=LATENCY, orient="row").write_parquet(folder / "latency.parquet")
    listed = {
        "schema": "assay/compare-arms/1",
        "metric": metric,
        "items": items,
        "arms": [arm(name) for name in scores] if arms is None else list(arms),
        "retrieval": {},
    }
    if floor is not None:
        listed["floor"] = {"title": "always 'ham'", "scores": dict(zip(ids, floor, strict=True))}
    (folder / "arms.json").write_text(json.dumps(listed | about), encoding="utf-8")
    return folder


def answer(name: str, item: str, cluster: int, score: float | None, place: int) -> tuple[Any, ...]:
    """One row of answers.parquet."""
    retrieved = name.endswith("rag")
    long = {"few_shot": 400, "rag": 350, "tuned_rag": 350}.get(name, 60)
    fresh, cut = place % 4 == 0, retrieved and place == 0
    said = "" if score is None else "ham"
    return name, item, cluster, said, score, True, fresh, long, 4, 0.8 if retrieved else None, cut, []
