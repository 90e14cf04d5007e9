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
from evals.stats import Floats


@dataclass(frozen=True)
class Sample:
    """Scores of the rows of one kind, and their clusters."""

    scores: Floats
    clusters: npt.NDArray[Any]


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


def rate_at(positive: Floats, negative: Floats, false_alarms: float) -> float | None:
    """Share of the first sample above a threshold that at most that share of the second is above; null for too few."""
    allowed = math.floor(false_alarms * len(negative))
    if allowed < 1:
        return None
    threshold = np.sort(negative)[::-1][allowed]
    return float((positive > threshold).mean())


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
