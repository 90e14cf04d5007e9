"""Whether the labels come as often as they did."""

from __future__ import annotations

import numpy as np

from evals.drift.sample import Draw, Found, Sample
from evals.drift.shift import shift_of
from schemas.drift import DriftEffect

NAME = "labels"
TITLE = "Shares of the labels"


def applies(sample: Sample) -> str:
    """Why it says nothing; empty where it applies."""
    return sample.why_no_labels or ("" if len(sample.labels) > 1 else "the dataset has one label only")


def measure(sample: Sample, bound: float, draw: Draw) -> Found:
    """Cramer's V of label and side; labels that only new rows have are one kind.

    Args:
        sample: both sides.
        bound: V from which on the difference counts.
        draw: how chance is drawn.
    """
    names = [*sorted(sample.labels), None]
    place = {name: at for at, name in enumerate(names)}
    counts = np.zeros((2, len(names)), dtype=np.int64)
    for answer, new in zip(sample.answers, sample.new, strict=True):
        if answer is not None:
            counts[int(new), place.get(answer, len(names) - 1)] += 1
    known, new_counts = counts
    found = shift_of(new_counts, known, draw)
    effect = DriftEffect(
        estimate=found.v,
        low=found.low,
        high=found.high,
        bound=bound,
        p=found.p,
        method="Cramer's V, non-central chi-square interval, exact test by draws",
    )
    shares = new_counts / new_counts.sum(), known / known.sum()
    moved = int(np.abs(shares[0] - shares[1]).argmax())
    name = "new labels" if names[moved] is None else repr(names[moved])
    told = f"{name} is the answer of {shares[0][moved]:.1%} of the new rows and of {shares[1][moved]:.1%} of the known"
    return Found(effect, told, int(new_counts.sum()), int(known.sum()))
