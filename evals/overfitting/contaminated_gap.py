"""Contaminated gap: whether the candidate gained more on eval items that stand in its trained rows than on the others.

Why: a suite of its own items may share some with the training rows. The dataset says which (`assay curate` looks for
them), and if the gain over the base model comes from these, the score measures memory. The gap is the mean gain over
the base model on items that a trained row holds, less that on the others, so that items which are harder for both
models are no memory.

Judged: fail where the gap is above `max_gap` by the lower end of its interval, pass where it is below by the upper end;
of several tasks the one with the largest gap counts, at a level that is divided among them.

Known problems: items that were looked for and not found may still be paraphrased in the rows; those that were not
looked for count as clean.

Source: comparison of contaminated with clean items as in Brown et al. 2020 (arXiv 2005.14165, appendix C); the interval
is Welch's (1947, Biometrika 34:28-35).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from curate.contamination.verdicts import GATING, Grade
from curate.score_test import MIN_CLUSTERS, student_quantile
from evals.consistency import filled
from evals.evidence import Evidence
from evals.measuring import Ends, When, as_dict, check, outcome_of, p_above, words
from evals.stats import Floats
from schemas.verdict import Check, Outcome

DEFAULTS = {"max_gap": 0.1}
"""Points of a score."""
WHEN = When.QUIET
ADVICE = {
    Outcome.FAIL: "take the rows that hold eval items out of training (assay curate, step contamination)",
    Outcome.INCONCLUSIVE: "take the rows that hold eval items out of training, or ask more items: raise evals.limit",
}


def applies(evidence: Evidence) -> str:
    """Why it does not: no task has enough items of either kind."""
    if _tasks(evidence):
        return ""
    return f"no task has {MIN_CLUSTERS} items that stand in trained rows and {MIN_CLUSTERS} that do not"


def judge(evidence: Evidence, thresholds: Mapping[str, float]) -> Check:
    """The check `overfitting:contaminated-gap`.

    Args:
        evidence: scores of base and tuned, and which items touch trained rows.
        thresholds: `max_gap`.
    """
    alpha, bound, tasks = evidence.conditions.alpha, thresholds["max_gap"], _tasks(evidence)
    gains = {task: _gains(evidence, task, seen) for task, seen in tasks.items()}
    ends = {task: welch(*pair, alpha / len(tasks)) for task, pair in gains.items()}
    worst = max(ends, key=lambda task: (ends[task][1], task))
    outcomes = {outcome_of(one, bound) for one in ends.values()}
    outcome = next(one for one in (Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS) if one in outcomes)
    measured: dict[str, Any] = {
        "gap": as_dict(ends[worst]),
        "task": worst,
        "items": {task: {"contaminated": len(pair[0]), "clean": len(pair[1])} for task, pair in gains.items()},
    }
    if outcome is Outcome.FAIL:
        measured["p"] = min(1.0, len(tasks) * p_above(partial(welch, *gains[worst]), bound))
    said = (
        f"{worst}: on {len(gains[worst][0])} items that stand in trained rows the candidate gained "
        f"{words(ends[worst], '+.3f')} more than on {len(gains[worst][1])} that do not"
    )
    return check("contaminated_gap", outcome, said, measured, {**thresholds, "alpha": alpha}, ADVICE.get(outcome, ""))


def welch(first: Floats, second: Floats, alpha: float) -> Ends:
    """Difference of two means with Welch's interval."""
    difference = float(first.mean() - second.mean())
    parts = [float(one.var(ddof=1)) / len(one) for one in (first, second)]
    if sum(parts) == 0:
        return difference, difference, difference
    degrees = sum(parts) ** 2 / sum(part**2 / (len(one) - 1) for part, one in zip(parts, (first, second), strict=True))
    reach = float(student_quantile(1 - alpha / 2, degrees)) * math.sqrt(sum(parts))
    return difference, difference - reach, difference + reach


def _tasks(evidence: Evidence) -> dict[str, set[str]]:
    """Task -> its items that stand in trained rows, where there are enough of both kinds."""
    found = {}
    for task, about in evidence.results.tasks.items():
        marks = (about.get("contamination") or {}).get("items", ())
        seen = {entry["item_id"] for entry in marks if Grade(entry["grade"]) in GATING}
        clean = evidence.items.filter(pl.col("task") == task)["item_id"].n_unique() - len(seen)
        if min(len(seen), clean) >= MIN_CLUSTERS and evidence.has(task, "base") and evidence.has(task, "tuned"):
            found[task] = seen
    return found


def _gains(evidence: Evidence, task: str, seen: set[str]) -> tuple[Floats, Floats]:
    """Gain over the base model on contaminated and on clean items; a failed item counts as wrong."""
    higher = evidence.higher_is_better(task)
    sides = []
    for model in ("tuned", "base"):
        answers = evidence.items.filter((pl.col("task") == task) & (pl.col("model") == model))
        scored = answers.with_columns(score=filled(answers["score"], higher=higher))
        sides.append(scored.group_by("item_id").agg(pl.col("score").mean()))
    both = sides[0].join(sides[1], on="item_id", suffix="_base").sort("item_id")
    gains = ((both["score"] - both["score_base"]) * (1 if higher else -1)).to_numpy().astype(np.float64)
    marked = both["item_id"].is_in(list(seen)).to_numpy()
    return gains[marked], gains[~marked]
