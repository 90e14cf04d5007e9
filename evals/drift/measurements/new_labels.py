"""Whether there are labels that the dataset does not have."""

from __future__ import annotations

from collections import Counter

import numpy as np

from evals.drift.sample import Draw, Found, Sample
from evals.stats import clopper_pearson
from schemas.drift import DriftEffect

NAME = "new_labels"
TITLE = "Labels that are new"
NAMED = 5


def applies(sample: Sample) -> str:
    """Why it says nothing; empty where it applies."""
    return sample.why_no_labels


def measure(sample: Sample, bound: float, draw: Draw) -> Found:
    """Share of the new rows whose label no known row has.

    Chance: of all rows with the label, those that were drawn as new ones might by luck be all there are.

    Args:
        sample: both sides.
        bound: share from which on it counts.
        draw: how chance is drawn.
    """
    given = [(answer, new) for answer, new in zip(sample.answers, sample.new, strict=True) if answer is not None]
    fresh = Counter(answer for answer, new in given if new and answer not in sample.labels)
    rows, others = sum(new for _, new in given), sum(not new for _, new in given)
    found = fresh.total()
    both = Counter(answer for answer, _ in given)
    names = sorted(both)
    totals = np.array([both[name] for name in names], dtype=np.int64)
    drawn = draw.generator("draws").multivariate_hypergeometric(totals, rows, size=draw.permutations)
    by_chance = np.where(drawn == totals, drawn, 0).sum(axis=1).astype(np.float64)
    low, high = clopper_pearson(found, rows, 2 * draw.alpha)
    effect = DriftEffect(
        estimate=found / rows,
        low=low,
        high=high,
        bound=bound,
        p=draw.p_value(float(found), by_chance),
        method="share, Clopper-Pearson interval, exact test by draws",
    )
    named = [name for name, _ in sorted(fresh.items(), key=lambda item: (-item[1], item[0]))[:NAMED]]
    said = f": {', '.join(map(repr, named))}" if named else ""
    told = f"{found:,} of {rows:,} new rows have a label that the dataset does not have{said}"
    return Found(effect, told, rows, others, {"labels": dict(sorted(fresh.items())[:100])})
