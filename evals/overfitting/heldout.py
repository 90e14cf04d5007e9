"""Held-out: whether training made the model worse on rows of the task that it never saw.

Why: a model that learned its rows by heart may lose on new ones, and then nothing else matters. The rise is the tuned
model's loss on test rows less the base model's, as a share of the base model's, so that answers of any length can be
compared. Where a suite asks test rows, the fall of its score is judged as well. Losses are those of whole answers in
evaluation mode, with the template, mask and truncation of training; intervals resample whole clusters.

Judged: fail where the rise is above `max_rise`, or the fall of a score above `max_fall`, by the lower end of its
interval; pass where the rise is below by the upper end and no score fell. That a score did not fall is for a task's own
condition to show (`must: not_regress`).

Known problems: a model that answers well in other words than the test rows has a high loss; the suites see what it
says.

Source: the intervals are those of `evals/bootstrap.py` and `evals/paired.py`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np

from curate.score_test import MIN_CLUSTERS
from evals.bootstrap import bca
from evals.evidence import Evidence
from evals.measuring import FEWER_EPOCHS, MORE_ROWS, Ends, Interval, When, as_dict, check, outcome_of, p_above, words
from evals.overfitting.gain_gap import paired
from evals.stats import Floats, cluster_totals
from schemas.verdict import Check, Outcome

DEFAULTS = {"max_rise": 0.02, "max_fall": 0.05}
"""Share of the base model's loss; points of a score."""
EFFECTS = {"rise": "max_rise"}
"""Where an effect stands among what was measured -> the threshold that bounds it."""
WHEN = When.ALWAYS
READS_LOSSES = True


def applies(evidence: Evidence) -> str:
    """Why it does not; it always does."""
    return ""


def judge(evidence: Evidence, thresholds: Mapping[str, float]) -> Check:
    """The check `overfitting:heldout`.

    Args:
        evidence: losses of base and tuned on test rows, and the scores of suites that ask them.
        thresholds: `max_rise` and `max_fall`.
    """
    alpha = evidence.conditions.alpha
    required = {**thresholds, "alpha": alpha, "min_clusters": MIN_CLUSTERS}
    rows = paired(evidence.losses)
    test = rows.filter(rows["split"] == "test")
    usable = test.filter(test["base"].is_finite().fill_null(False) & test["tuned"].is_finite().fill_null(False))
    clusters, failed = test["cluster"].n_unique(), test.height - usable.height
    counts = {"test_rows": test.height, "test_clusters": clusters, "failed": failed}
    if clusters < MIN_CLUSTERS or failed:
        few = f"{clusters} independent test rows were scored, at least {MIN_CLUSTERS} are needed"
        reason = f"{failed} rows have no loss" if failed else few
        said = f"it cannot be judged whether new rows became worse: {reason}"
        return check("heldout", Outcome.INCONCLUSIVE, said, counts, required, MORE_ROWS)
    losses = usable.select("base", "tuned").to_numpy().astype(np.float64)
    strata = [cluster_totals(losses, usable["cluster"].to_numpy())[1]]

    def rise(level: float) -> Ends:
        return bca(strata, _rise, level, evidence.seed)

    found = _falls(evidence)
    ends = rise(alpha)
    falls = {task: fall(alpha) for task, fall in found.items()}
    fell = [task for task, fall in falls.items() if outcome_of(fall, thresholds["max_fall"]) is Outcome.FAIL]
    outcome = Outcome.FAIL if fell else outcome_of(ends, thresholds["max_rise"])
    measured: dict[str, Any] = {
        "rise": as_dict(ends),
        "falls": {task: as_dict(fall) for task, fall in falls.items()},
        **counts,
    }
    if outcome is Outcome.FAIL:  # of several claims, one is true by chance so much more often
        claims = [p_above(rise, thresholds["max_rise"])]
        claims += [p_above(fall, thresholds["max_fall"]) for fall in found.values()]
        measured["p"] = min(1.0, len(claims) * min(claims))
    means = losses.mean(axis=0)
    said = (
        f"on rows that it never saw, an answer costs the base model {means[0]:.3f} nats and the tuned model "
        f"{means[1]:.3f}: a change of {words(ends, '+.1%')} of the base model's loss"
    )
    said += "".join(f"; {task} fell by {words(falls[task], '.3f')}" for task in fell)
    advice = {Outcome.FAIL: FEWER_EPOCHS, Outcome.INCONCLUSIVE: MORE_ROWS}.get(outcome, "")
    return check("heldout", outcome, f"{said}{TAILS[outcome]}", measured, required, advice)


TAILS = {
    Outcome.PASS: "; it did not get worse at the task",
    Outcome.FAIL: "; training made it worse at its own task",
    Outcome.INCONCLUSIVE: "; these rows cannot tell whether it got worse",
}


def _rise(sums: Sequence[Floats]) -> Floats:
    found: Floats = (sums[0][..., 1] - sums[0][..., 0]) / np.maximum(sums[0][..., 0], 1e-9)
    return found


def _falls(evidence: Evidence) -> dict[str, Interval]:
    """Task over test rows -> how far its score fell, where there are enough items to say."""
    found: dict[str, Interval] = {}
    for task, about in evidence.results.tasks.items():
        asked = about.get("split") == "test" and evidence.has(task, "base") and evidence.has(task, "tuned")
        if asked and evidence.compare(task, "base").interval.is_evidence:
            found[task] = partial(_fall, evidence, task)
    return found


def _fall(evidence: Evidence, task: str, alpha: float) -> Ends:
    conditions = evidence.conditions.model_copy(update={"alpha": alpha})
    interval = replace(evidence, conditions=conditions).compare(task, "base").interval
    return -interval.estimate, -interval.high, -interval.low
