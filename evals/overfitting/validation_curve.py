"""Validation curve: whether the weights that ship are those of the least validation loss, or come after it.

Why: a validation loss that falls and then rises is the plainest sign of training for too long. The excess is the
validation loss after the published step less the least one that was measured, as a share of it; both are of the same
rows, so rows are paired where training noted the loss of each.

Judged: pass where the published step has the least loss, or the excess is below `max_excess` by the upper end of its
interval; fail where it is above by the lower end. The least of several losses is low by chance too, so the lower end is
that of as many comparisons as there are other measurements (Bonferroni). Where training noted means alone (dpo, kto,
reward), or for few rows, there is no interval: any excess is then inconclusive.

Known problems: the sample is the watch's (`train.watch.rows`), and small. With `train.keep: best` the excess is 0 by
construction, and says only that.

Source: early stopping as Prechelt 1998 describes it ("Early Stopping - But When?").
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from curate.score_test import MIN_CLUSTERS
from evals.evidence import Evidence
from evals.measuring import Ends, When, as_dict, check, outcome_of, p_above, words
from evals.stats import clustered_mean
from schemas.verdict import Check, Outcome

DEFAULTS = {"max_excess": 0.05}
"""Share of the least validation loss."""
EFFECTS = {"excess": "max_excess"}
"""Where an effect stands among what was measured -> the threshold that bounds it."""
WHEN = When.TOLD
READS_LOSSES = False
ADVICE = "publish the best step (train.keep: best), or train for fewer epochs"


def applies(evidence: Evidence) -> str:
    """Why it does not: nothing was measured while training, or it was no loss."""
    curve = evidence.results.overfitting.get("validation_curve")
    if not curve:
        return "no validation loss was measured while training"
    if curve["method"] == "grpo":
        return "method grpo is measured by its reward, which has no share of a loss"
    losses = dict(map(tuple, curve["points"]))
    if curve["published_step"] not in losses:
        return "no validation loss was measured at the published step"
    return "" if min(losses.values()) > 0 else "the least validation loss is not above 0, so nothing is a share of it"


def judge(evidence: Evidence, thresholds: Mapping[str, float]) -> Check:
    """The check `overfitting:validation-curve`.

    Args:
        evidence: the curve, from training's own measurements.
        thresholds: `max_excess`.
    """
    curve, alpha = evidence.results.overfitting["validation_curve"], evidence.conditions.alpha
    losses: dict[int, float] = dict(map(tuple, curve["points"]))
    published, best = curve["published_step"], min(losses, key=lambda step: (losses[step], step))
    excess = losses[published] / losses[best] - 1
    required = {**thresholds, "alpha": alpha}
    measured: dict[str, Any] = {
        "published_step": published,
        "best_step": best,
        "published_loss": losses[published],
        "least_loss": losses[best],
        "measurements": len(losses),
    }
    rows: dict[int, list[float]] = dict(map(tuple, curve["rows"]))
    said = f"of {len(losses)} measurements the validation loss was least after step {best} ({losses[best]:.4f}); "
    said += f"published are the weights after step {published} ({losses[published]:.4f})"
    if excess <= 0:
        measured["excess"] = {"estimate": 0.0, "low": 0.0, "high": 0.0}
        return check("validation_curve", Outcome.PASS, f"{said}, which are the best", measured, required)
    if published not in rows or best not in rows or len(rows[best]) < MIN_CLUSTERS:
        measured["excess"] = {"estimate": round(excess, 6), "low": None, "high": None}
        said += f", {excess:.1%} above, of which too few rows are known to say whether it is chance"
        return check("validation_curve", Outcome.INCONCLUSIVE, said, measured, required, ADVICE)
    differences = (np.array(rows[published]) - np.array(rows[best])) / np.mean(rows[best])

    def interval(level: float) -> Ends:
        alone = np.arange(len(differences))
        found = clustered_mean(differences, alone, level)
        return found.estimate, clustered_mean(differences, alone, level / (len(losses) - 1)).low, found.high

    ends = interval(alpha)
    outcome = outcome_of(ends, thresholds["max_excess"])
    measured |= {"excess": as_dict(ends), "rows": len(differences)}
    if outcome is Outcome.FAIL:
        measured["p"] = p_above(interval, thresholds["max_excess"])
    said += f", {words(ends, '+.1%')} above on {len(differences)} rows"
    return check("validation_curve", outcome, said, measured, required, "" if outcome is Outcome.PASS else ADVICE)
