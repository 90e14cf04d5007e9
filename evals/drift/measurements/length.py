"""Whether new rows are longer or shorter."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from evals.drift.measurements.classifier import area_variance
from evals.drift.sample import Draw, Found, Sample
from schemas.drift import DriftEffect

NAME = "length"
TITLE = "Length"


def applies(sample: Sample) -> str:
    """Why it says nothing: always empty, every text has a length."""
    return ""


def measure(sample: Sample, bound: float, draw: Draw) -> Found:
    """Cliff's delta without its sign: how much more often a new row is longer than a known one, or shorter.

    Args:
        sample: both sides; length is that of the text in characters.
        bound: delta from which on, in either direction, the difference counts.
        draw: how chance is drawn.
    """
    from scipy.stats import mannwhitneyu

    lengths = np.array([len(text) for text in sample.texts], dtype=np.float64)
    new, known = lengths[sample.new], lengths[~sample.new]
    test = mannwhitneyu(new, known, alternative="two-sided")
    delta = 2 * float(test.statistic) / (len(new) * len(known)) - 1
    # Where all new rows are longer the values have no spread; a single row could differ all the same.
    error = max(2 * math.sqrt(area_variance(new, known)), 1 / min(len(new), len(known)))
    reach = NormalDist().inv_cdf(1 - draw.alpha) * error
    effect = DriftEffect(
        estimate=abs(delta),
        low=max(0.0, abs(delta) - reach),
        high=min(1.0, abs(delta) + reach),
        bound=bound,
        p=float(test.pvalue),
        method="Cliff's delta, DeLong's interval, Mann-Whitney test",
    )
    told = f"the median new row has {np.median(new):,.0f} characters, the median known one {np.median(known):,.0f}"
    return Found(effect, told, len(new), len(known))
