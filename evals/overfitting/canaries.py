"""Canaries: whether made-up secrets that were trained are better known than made-up secrets that never were.

Why: a secret that nobody can guess is known only if it was memorised, so canaries measure memory without any doubt
about what the model could know otherwise. They are judged where training inserted them (`train.canaries`), by how often
each was inserted. A canary's score is how far training lowered the loss of its answer; as canaries are drawn from one
rule, those that were never inserted are exact controls. The area is the probability that a canary scores higher than a
control, with an exact rank test. Exposure is log2 of the number of controls and itself less log2 of its rank among
them: 0 or more, 1.44 on average where nothing is known, and at most log2 of that number.

Judged: the canaries that were inserted once, since a row that is there once is what training has most of. Fail where
the area is above `max_area` by the lower end of its interval and the exact test agrees; pass where the upper end is
below. Twice and four times inserted ones show how memory grows, and that the measurement would have seen it.

Known problems: random digits are easier to notice than natural rows, and canaries change the model a little: use them
in a copy of the run. Every epoch shows them again.

Source: Carlini et al. 2019, "The Secret Sharer" (arXiv 1802.08232); the test is Mann and Whitney's (1947, Annals of
Mathematical Statistics 18:50-60), the interval Newcombe's (2006, Statistics in Medicine 25:559-573).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import polars as pl

from evals.evidence import Evidence
from evals.measuring import FEWER_EPOCHS, Ends, When, as_dict, check, outcome_of, p_above, words
from evals.ranks import Sample, area, area_ends
from evals.stats import Floats
from schemas.verdict import Check, Outcome

DEFAULTS = {"max_area": 0.75}
"""Probability that a canary which was inserted once is better known than one which never was."""
EFFECTS = {"inserted_1.area": "max_area"}
"""Where an effect stands among what was measured -> the threshold that bounds it."""
WHEN = When.QUIET
READS_LOSSES = True
LEAST = 4
"""Canaries of a dose below which an exact test can show nothing: 1 in 70 orders at best."""


def applies(evidence: Evidence) -> str:
    """Why it does not: the run inserted none."""
    return "" if evidence.results.overfitting.get("canaries") else "the run inserted no canaries (train.canaries)"


def judge(evidence: Evidence, thresholds: Mapping[str, float]) -> Check:
    """The check `overfitting:canaries`.

    Args:
        evidence: losses of base and tuned on canaries of each dose and on the controls.
        thresholds: `max_area`.
    """
    alpha, bound = evidence.conditions.alpha, thresholds["max_area"]
    required = {**thresholds, "alpha": alpha, "canaries": LEAST}
    asked = evidence.tokens.filter(pl.col("split").str.starts_with("canary_"))
    failed = asked.height - int(asked["nll"].is_finite().sum())
    if failed:
        said = f"it cannot be judged whether secrets were memorised: {failed} canaries have no loss"
        return check("canaries", Outcome.INCONCLUSIVE, said, {}, required, "run `assay evals` again")
    gains = _gains(evidence.tokens)
    controls = gains.get(0, np.zeros(0))
    doses = sorted(dose for dose in gains if dose)
    more = "raise train.canaries, and train again"
    if min((len(found) for found in gains.values()), default=0) < LEAST or not doses or not len(controls):
        said = f"too few canaries have losses: { ({dose: len(found) for dose, found in sorted(gains.items())}) }"
        return check("canaries", Outcome.INCONCLUSIVE, said, {}, required, more)
    measured: dict[str, Any] = {
        f"inserted_{dose}": {
            "canaries": len(gains[dose]),
            "area": as_dict(_ends(gains[dose], controls, alpha)),
            "p_exact": round(_exact(gains[dose], controls), 6),
            "exposure": round(float(exposures(gains[dose], controls).mean()), 6),
        }
        for dose in doses
    }
    first = doses[0]
    once = partial(_ends, gains[first], controls)
    ends, exact = once(alpha), _exact(gains[first], controls)
    outcome = outcome_of(ends, bound)
    if outcome is Outcome.FAIL and exact > alpha / 2:
        outcome = Outcome.INCONCLUSIVE
    if outcome is Outcome.FAIL:
        measured["p"] = max(exact, p_above(once, bound))
    told = ", ".join(f"{dose} times {measured[f'inserted_{dose}']['exposure']:.1f}" for dose in doses)
    said = (
        f"a made-up secret that was trained once an epoch is better known than one that never was with probability "
        f"{words(ends, '.2f')}; exposure by how often: {told}, of {math.log2(len(controls) + 1):.1f} bits at most"
    )
    advice = {Outcome.FAIL: FEWER_EPOCHS, Outcome.INCONCLUSIVE: more}.get(outcome, "")
    return check("canaries", outcome, f"{said}{TAILS[outcome]}", measured, required, advice)


TAILS = {
    Outcome.PASS: "; a row that is there once leaves little trace",
    Outcome.FAIL: "; single rows are memorised",
    Outcome.INCONCLUSIVE: "; so few cannot tell whether single rows are memorised",
}


def exposures(scores: Floats, controls: Floats) -> Floats:
    """Bits of each score's rank among the controls: log2 of all ranks less log2 of its own; ties count against it."""
    ranks = 1 + (controls[None, :] >= scores[:, None]).sum(axis=1)
    found: Floats = np.log2(len(controls) + 1) - np.log2(ranks)
    return found


def _gains(tokens: pl.DataFrame) -> dict[int, Floats]:
    """Dose -> how far training lowered the loss of each canary."""
    rows = tokens.filter(pl.col("split").str.starts_with("canary_"))
    both = rows.filter(pl.col("model") == "base").join(
        rows.filter(pl.col("model") == "tuned").select("row_id", tuned="nll"), on="row_id"
    )
    found: dict[int, Floats] = {}
    for (split,), group in both.sort("row_id").group_by(["split"], maintain_order=True):
        found[int(str(split).removeprefix("canary_"))] = (group["nll"] - group["tuned"]).to_numpy().astype(np.float64)
    return found


def _ends(scores: Floats, controls: Floats, alpha: float) -> Ends:
    found = area(Sample(scores, np.arange(len(scores))), Sample(controls, np.arange(len(controls))))
    return area_ends(found.estimate, (len(scores), len(controls)), alpha)


def _exact(scores: Floats, controls: Floats) -> float:
    from scipy.stats import mannwhitneyu

    return float(mannwhitneyu(scores, controls, alternative="greater", method="exact").pvalue)
