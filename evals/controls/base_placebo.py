"""Base placebo: whether a model that saw neither trained nor held-out rows tells them apart.

The statistics of the measurements, computed on the base model alone, must be null. Where they are not, the rows differ
in difficulty, or the base model was trained on some of them, and what the tuned model shows may have the same cause. A
fault is an area under the ROC curve of the base model's loss a token, or of its Min-K%++ score, of which the whole
interval is farther than `MAX_DISTANCE` from one half.
"""

from __future__ import annotations

from curate.score_test import MIN_CLUSTERS
from evals.evidence import Evidence
from evals.membership_scores import SCORES, membership_samples
from evals.ranks import area
from evals.scoring import has_details
from schemas.verdict import Check, Outcome

NAME = "control:base-placebo"
MAX_DISTANCE = 0.05
UNDERMINES = ("gain_gap", "membership")


def judge(evidence: Evidence) -> Check:
    """The check `control:base-placebo`."""
    alpha = evidence.conditions.alpha
    required = {"max_distance": MAX_DISTANCE, "alpha": alpha}
    if evidence.tokens.is_empty() and not evidence.losses.is_empty():
        return _unknown(required)
    names = SCORES if has_details(evidence.tokens) else ["loss"]
    samples = {name: membership_samples(evidence.tokens, "base", name) for name in names}
    fewest = min(len(set(sample.clusters.tolist())) for pair in samples.values() for sample in pair)
    if fewest < MIN_CLUSTERS:
        said = f"there are too few rows to see whether the base model tells them apart: {fewest} independent"
        return Check(name=NAME, outcome=Outcome.NOT_APPLICABLE, message=said, required=required)
    found = {name: area(*pair).interval(alpha) for name, pair in samples.items()}
    faults = [name for name, (_, low, high) in found.items() if low > 0.5 + MAX_DISTANCE or high < 0.5 - MAX_DISTANCE]
    told = ", ".join(f"{SCORES[name]} {area:.3f} [{low:.3f}, {high:.3f}]" for name, (area, low, high) in found.items())
    said = f"areas of the base model, which saw neither trained nor held-out rows: {told}"
    return Check(
        name=NAME,
        outcome=Outcome.INCONCLUSIVE if faults else Outcome.PASS,
        message=f"{said}: it tells them apart" if faults else f"{said}: it does not tell them apart",
        measured={
            "areas": {
                name: {"estimate": round(area, 6), "low": round(low, 6), "high": round(high, 6)}
                for name, (area, low, high) in found.items()
            },
            "undermines": UNDERMINES,
        },
        required=required,
        help="trained and held-out rows differ in difficulty, or the base model knows some: split them anew"
        if faults
        else "",
    )


def _unknown(required: dict[str, float]) -> Check:
    said = "this evaluation kept no scores of tokens, so it is not known whether the base model tells the rows apart"
    measured = {"undermines": UNDERMINES}
    again = "run `assay evals` again"
    return Check(
        name=NAME, outcome=Outcome.INCONCLUSIVE, message=said, measured=measured, required=required, help=again
    )
