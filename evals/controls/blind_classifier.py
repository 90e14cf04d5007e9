"""Blind classifier: whether the text alone tells trained from held-out rows.

Where a classifier that sees no language model can, the rows are of different kinds, and a difference of losses between
them is no memory. A fault is an area under its ROC curve whose lower end is above `MAX_AREA`; what it says of rows
comes from `evals/blind.py`, cross-validated over whole clusters.

Known problem: the latest rows as a test split (`curate.split.time_by`) differ from older ones as a rule; then the
comparisons of trained and held-out rows say little, and the verdict says so.
"""

from __future__ import annotations

import polars as pl

from curate.score_test import MIN_CLUSTERS
from evals.evidence import Evidence
from evals.ranks import Sample, area
from schemas.verdict import Check, Outcome

NAME = "control:blind-classifier"
MAX_AREA = 0.55
UNDERMINES = ("extraction", "gain_gap", "membership", "perturbation")


def judge(evidence: Evidence) -> Check:
    """The check `control:blind-classifier`."""
    alpha = evidence.conditions.alpha
    asked = evidence.rows.filter(pl.col("blind").is_not_null())
    samples = [asked.filter(pl.col("split") == split) for split in ("train", "test")]
    clusters = min(sample["cluster"].n_unique() for sample in samples)
    required = {"max_area": MAX_AREA, "alpha": alpha}
    if evidence.rows.is_empty() and not evidence.losses.is_empty():
        said = "this evaluation kept no list of its rows, so it is not known whether they differ in kind"
        measured = {"undermines": UNDERMINES}
        again = "run `assay evals` again"
        return Check(
            name=NAME, outcome=Outcome.INCONCLUSIVE, message=said, measured=measured, required=required, help=again
        )
    if clusters < MIN_CLUSTERS:
        said = f"there are too few rows to see whether trained and held-out ones differ in kind: {clusters} independent"
        return Check(name=NAME, outcome=Outcome.NOT_APPLICABLE, message=said, required=required)
    trained, held_out = (Sample(sample["blind"].to_numpy(), sample["cluster"].to_numpy()) for sample in samples)
    found = area(trained, held_out).interval(alpha)
    said = f"a classifier of words tells trained from held-out rows with an area of {found[0]:.3f} "
    said += f"[{found[1]:.3f}, {found[2]:.3f}] under its curve"
    fault = found[1] > MAX_AREA
    return Check(
        name=NAME,
        outcome=Outcome.INCONCLUSIVE if fault else Outcome.PASS,
        message=f"{said}: the two are of different kinds" if fault else f"{said}: no difference in kind was found",
        measured={
            "area": {"estimate": round(found[0], 6), "low": round(found[1], 6), "high": round(found[2], 6)},
            "train_rows": samples[0].height,
            "test_rows": samples[1].height,
            "undermines": UNDERMINES,
        },
        required=required,
        help="draw both splits from the same rows: `assay curate` does; a split by time or source does not"
        if fault
        else "",
    )
