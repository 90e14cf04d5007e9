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
puts those of both gains (`evals/paired.py`) together by square-and-add (Newcombe 1998, Statistics in Medicine
17:873-890).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import polars as pl

from curate.contamination.verdicts import GATING, Grade
from curate.score_test import MIN_CLUSTERS
from evals.evidence import Evidence
from evals.measuring import Ends, When, apart, as_dict, check, outcome_of, p_above, words
from schemas.verdict import Check, Outcome

DEFAULTS = {"max_gap": 0.1}
"""Points of a score."""
EFFECTS = {"gap": "max_gap"}
"""Where an effect stands among what was measured -> the threshold that bounds it."""
WHEN = When.QUIET
READS_LOSSES = False
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
    gaps = {task: partial(_gap, evidence, task, *parts) for task, parts in tasks.items()}
    ends = {task: gap(alpha / len(tasks)) for task, gap in gaps.items()}
    worst = max(ends, key=lambda task: (ends[task][1], task))
    outcomes = {outcome_of(one, bound) for one in ends.values()}
    outcome = next(one for one in (Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.PASS) if one in outcomes)
    measured: dict[str, Any] = {
        "gap": as_dict(ends[worst]),
        "task": worst,
        "items": {task: {"contaminated": len(seen), "clean": len(clean)} for task, (seen, clean) in tasks.items()},
    }
    if outcome is Outcome.FAIL:
        measured["p"] = min(1.0, len(tasks) * p_above(gaps[worst], bound))
    said = (
        f"{worst}: on {len(tasks[worst][0])} items that stand in trained rows the candidate gained "
        f"{words(ends[worst], '+.3f')} more than on {len(tasks[worst][1])} that do not"
    )
    return check("contaminated_gap", outcome, said, measured, {**thresholds, "alpha": alpha}, ADVICE.get(outcome, ""))


def _gap(evidence: Evidence, task: str, seen: set[str], clean: set[str], alpha: float) -> Ends:
    """Gain over the base model on contaminated items less that on the others."""
    asked = replace(evidence, conditions=evidence.conditions.model_copy(update={"alpha": alpha}))
    gains = [asked.compare(task, "base", part=part).interval for part in (seen, clean)]
    return apart(*((gain.estimate, gain.low, gain.high) for gain in gains))


def _tasks(evidence: Evidence) -> dict[str, tuple[set[str], set[str]]]:
    """Task -> its items that stand in trained rows and those that do not, where there are enough of both kinds."""
    found = {}
    for task, about in evidence.results.tasks.items():
        marks = (about.get("contamination") or {}).get("items", ())
        asked = set(evidence.items.filter(pl.col("task") == task)["item_id"])
        seen = asked & {entry["item_id"] for entry in marks if Grade(entry["grade"]) in GATING}
        enough = min(len(seen), len(asked - seen)) >= MIN_CLUSTERS
        if enough and evidence.has(task, "base") and evidence.has(task, "tuned"):
            found[task] = seen, asked - seen
    return found
