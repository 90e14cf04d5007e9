"""How well a score tells two samples apart: area under the ROC curve with clusters, and the rate at few false alarms.

scikit-learn gives the area alone; intervals for clustered rows, and for the difference of two models' areas on the same
rows, are those of Obuchowski 1997 (Biometrics 53:567-578), which for single rows are those of DeLong 1988.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.score_test import student_quantile
from evals.measuring import Ends
from evals.stats import HALVINGS, Floats

RATE_DRAWS = 1000
ROUNDING = 1e-9
"""A hundredth of 300 rows is 3, also where the product is a hair below."""


@dataclass(frozen=True)
class Sample:
    """Scores of the rows of one kind, and their clusters."""

    scores: Floats
    clusters: npt.NDArray[Any]
    rows: tuple[str, ...] = ()
    """Their names, where two models are compared on the same rows."""


@dataclass(frozen=True)
class Area:
    """The area under the curve, with what its rows contribute."""

    estimate: float
    parts: tuple[Floats, Floats]
    """For each row of either sample, the share of the other sample that it beats, or is beaten by."""
    clusters: tuple[npt.NDArray[Any], npt.NDArray[Any]]

    def interval(self, alpha: float) -> Ends:
        """Two-sided at 1 - alpha, with Student's t of the fewer clusters, cut to [0, 1]."""
        low, high = _reach(self.estimate, self.parts, self.clusters, (self.estimate, self.estimate), alpha)
        return self.estimate, max(low, 0.0), min(high, 1.0)

    def excess(self, other: Area, alpha: float) -> Ends:
        """This area less another one of the same rows."""
        parts = (self.parts[0] - other.parts[0], self.parts[1] - other.parts[1])
        difference = self.estimate - other.estimate
        low, high = _reach(difference, parts, self.clusters, (difference, difference), alpha)
        return difference, max(low, -1.0), min(high, 1.0)


def area(positive: Sample, negative: Sample) -> Area:
    """Probability that a row of the first sample scores higher than one of the second, ties counted half."""
    above = _share_below(positive.scores, negative.scores)
    below = 1 - _share_below(negative.scores, positive.scores)
    return Area(float(above.mean()), (above, below), (positive.clusters, negative.clusters))


def area_ends(estimate: float, sizes: tuple[int, int], alpha: float) -> Ends:
    """Interval of the area of two samples of independent rows that keeps a width where none overlaps, for few rows.

    Newcombe 2006 (Statistics in Medicine 25:559-573, method 5): the areas whose own variance, after Hanley and McNeil
    1982 with samples of like sizes, does not put the estimate out of reach. Student's t of the smaller sample stands
    for his normal quantile.

    Args:
        estimate: the area.
        sizes: rows of either sample, each at least 2.
        alpha: 1 - level.
    """
    more = sum(sizes) / 2 - 1
    quantile = float(student_quantile(1 - alpha / 2, min(sizes) - 1))

    def reaches(area: float) -> bool:
        spread = area * (1 - area) * (1 + more * ((1 - area) / (2 - area) + area / (1 + area)))
        return abs(estimate - area) <= quantile * math.sqrt(spread / (sizes[0] * sizes[1]))

    def end(outer: float) -> float:
        inner = estimate
        for _ in range(HALVINGS):
            middle = (inner + outer) / 2
            inner, outer = (middle, outer) if reaches(middle) else (inner, middle)
        return inner

    return estimate, end(0.0), end(1.0)


def rate_at(positive: Sample, negative: Sample, false_alarms: float) -> float | None:
    """Share of the first sample above a threshold that at most that share of the second is above.

    Null where the second has too few clusters to hold a single false alarm.
    """
    if math.floor(false_alarms * len(set(negative.clusters.tolist())) + ROUNDING) < 1:
        return None
    once = [np.ones((1, len(sample.scores))) for sample in (positive, negative)]
    return float(_rates_at((positive, negative), once, false_alarms)[0])


def rate_excess_ends(
    ours: tuple[Sample, Sample], theirs: tuple[Sample, Sample], false_alarms: float, alpha: float, seed: int
) -> tuple[float, float]:
    """Percentile interval of `rate_at` of one model less that of another on the same rows, resampling clusters."""
    rng = np.random.default_rng(seed)
    weights = []
    for sample in ours:
        labels, index = np.unique(sample.clusters, return_inverse=True)
        count = len(labels)
        weights.append(rng.multinomial(count, np.full(count, 1 / count), size=RATE_DRAWS)[:, index].astype(np.float64))
    excess = _rates_at(ours, weights, false_alarms) - _rates_at(theirs, weights, false_alarms)
    low, high = np.quantile(excess, [alpha / 2, 1 - alpha / 2])
    return float(low), float(high)


def _rates_at(samples: tuple[Sample, Sample], weights: Sequence[Floats], false_alarms: float) -> Floats:
    """`rate_at` for every line of weights (draws, rows)."""
    order = np.argsort(-samples[1].scores, kind="stable")
    counted = np.cumsum(weights[1][:, order], axis=1)
    allowed = np.floor(false_alarms * counted[:, -1:] + ROUNDING)
    first = np.minimum((counted <= allowed).sum(axis=1), len(order) - 1)
    above = samples[0].scores[None, :] > samples[1].scores[order][first][:, None]
    found: Floats = (above * weights[0]).sum(axis=1) / weights[0].sum(axis=1)
    return found


def _share_below(scores: Floats, others: Floats) -> Floats:
    ordered = np.sort(others)
    under = np.searchsorted(ordered, scores, "left").astype(np.float64)
    upto = np.searchsorted(ordered, scores, "right")
    share: Floats = (under + upto) / 2 / len(others)
    return share


def _reach(
    estimate: float,
    parts: Sequence[Floats],
    clusters: Sequence[npt.NDArray[Any]],
    means: Sequence[float],
    alpha: float,
) -> tuple[float, float]:
    variance, fewest = 0.0, math.inf
    for values, labels, mean in zip(parts, clusters, means, strict=True):
        _, index = np.unique(labels, return_inverse=True)
        totals = np.bincount(index, weights=values - mean)
        count = len(totals)
        fewest = min(fewest, count)
        if count < 2:
            return math.nan, math.nan
        variance += count / (count - 1) * float((totals**2).sum()) / len(values) ** 2
    reach = float(student_quantile(1 - alpha / 2, fewest - 1)) * math.sqrt(variance)
    return estimate - reach, estimate + reach
