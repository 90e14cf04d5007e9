"""The formulas: intervals for one proportion, paired proportions and means, with clusters where items are dependent.

Scores are per item; a difference is candidate minus baseline, so positive is better. `evals/paired.py` applies the
formulas. Every interval is two-sided at level 1 - alpha; a gate's verdict rests on one end of it. Items of one cluster
(near-duplicates, one thread) may depend on each other; clusters are independent. scipy is loaded where called.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from curate.score_test import MIN_CLUSTERS, score_statistic, student_quantile

Floats = npt.NDArray[np.float64]

HALVINGS = 60
"""Steps of a bisection on [-1, 1]: to the last digits of a double."""


@dataclass(frozen=True)
class Interval:
    """An estimate with its two-sided interval."""

    estimate: float
    low: float
    high: float
    items: int
    clusters: int
    method: str

    @property
    def is_evidence(self) -> bool:
        """True when there are enough clusters, and finite ends, for a verdict to rest on."""
        return self.clusters >= MIN_CLUSTERS and math.isfinite(self.low) and math.isfinite(self.high)

    def as_dict(self) -> dict[str, Any]:
        """Plain numbers for a report; ends that do not exist are null."""

        def finite(value: float) -> float | None:
            return round(value, 6) if math.isfinite(value) else None

        return {
            "estimate": finite(self.estimate),
            "low": finite(self.low),
            "high": finite(self.high),
            "items": self.items,
            "clusters": self.clusters,
            "method": self.method,
        }


def no_interval(method: str, items: int = 0, clusters: int = 0, estimate: float = math.nan) -> Interval:
    """An interval that nothing can rest on: no items, or values from which no spread can be estimated."""
    return Interval(estimate, math.nan, math.nan, items, clusters, method)


# ------------------------------------------------------------------------------------------------- one proportion


def wilson(successes: float, items: float, alpha: float) -> tuple[float, float]:
    """Score interval of a proportion (Wilson 1927, JASA 22:209-212).

    Args:
        successes: items that succeeded; an effective count need not be whole.
        items: items in all, > 0.
        alpha: 1 - level of the two-sided interval.
    """
    z = NormalDist().inv_cdf(1 - alpha / 2)
    share = successes / items
    middle = share + z * z / (2 * items)
    spread = z * math.sqrt(share * (1 - share) / items + z * z / (4 * items * items))
    scale = 1 + z * z / items
    low = 0.0 if successes == 0 else (middle - spread) / scale
    high = 1.0 if successes == items else (middle + spread) / scale
    return low, high


def clopper_pearson(successes: int, items: int, alpha: float) -> tuple[float, float]:
    """Exact interval of a proportion (Clopper and Pearson 1934, Biometrika 26:404-413), by beta quantiles."""
    from scipy.stats import beta

    low = 0.0 if successes == 0 else float(beta.ppf(alpha / 2, successes, items - successes + 1))
    high = 1.0 if successes == items else float(beta.ppf(1 - alpha / 2, successes + 1, items - successes))
    return low, high


# ------------------------------------------------------------------------------------------- paired binary scores


def mcnemar_exact(gained: int, lost: int) -> float:
    """Two-sided exact p-value that gains and losses are equally likely (McNemar 1947, Psychometrika 12:153-157).

    Args:
        gained: items that only the candidate got right.
        lost: items that only the baseline got right.
    """
    from scipy.stats import binomtest

    return float(binomtest(gained, gained + lost, 0.5).pvalue) if gained + lost else 1.0


def tango(
    gained: npt.ArrayLike, lost: npt.ArrayLike, items: npt.ArrayLike, z: npt.ArrayLike, correction: npt.ArrayLike = 0.0
) -> tuple[Floats, Floats]:
    """Score interval of the difference of two paired proportions (Tango 1998, Statistics in Medicine 17:891-908).

    The nuisance parameter is its maximum-likelihood value under the tested difference, so the interval keeps a width
    where nothing disagrees: no gain and no loss on n items gives z^2 / (n + z^2) on either side. All arguments
    broadcast.

    Args:
        gained: items that only the candidate got right; effective counts need not be whole.
        lost: items that only the baseline got right.
        items: all items, > 0.
        z: the quantile, for example 1.96 for a two-sided 95% interval.
        correction: for continuity, in items: taken off the distance before it is compared with its deviation.

    Returns:
        Ends of the interval of (gained - lost) / items, in [-1, 1].
    """
    gain, loss, count, quantile, short = np.broadcast_arrays(
        *(np.asarray(value, dtype=np.float64) for value in (gained, lost, items, z, correction))
    )

    estimate = (gain - loss) / count

    def solve(end: float) -> Floats:
        # The statistic grows from the estimate outwards; `inner` is on the estimate's side of the root.
        inner, outer = estimate.copy(), np.full_like(estimate, end)
        for _ in range(HALVINGS):
            middle = (inner + outer) / 2
            inside = score_statistic(gain, loss, count, middle, short) < quantile
            inner, outer = np.where(inside, middle, inner), np.where(inside, outer, middle)
        return np.asarray(inner, dtype=np.float64)

    low, high = solve(-1.0), solve(1.0)
    return np.where(loss == count, -1.0, low), np.where(gain == count, 1.0, high)


def newcombe(table: tuple[float, float, float, float], alpha: float) -> tuple[float, float]:
    """Hybrid score interval of a paired difference (Newcombe 1998, Statistics in Medicine 17:2635-2650, method 10).

    Args:
        table: items right in both, gained (candidate only), lost (baseline only), wrong in both.
        alpha: 1 - level.
    """
    both, gained, lost, neither = table
    items = both + gained + lost + neither
    candidate, baseline = (both + gained) / items, (both + lost) / items
    low_c, high_c = wilson(both + gained, items, alpha)
    low_b, high_b = wilson(both + lost, items, alpha)
    margins = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    excess = both * neither - gained * lost
    if excess > 0:
        excess = max(excess - items / 2, 0.0)
    phi = excess / math.sqrt(margins) if margins > 0 else 0.0

    def reach(first: float, second: float) -> float:
        return math.sqrt(max(0.0, first * first - 2 * phi * first * second + second * second))

    difference = candidate - baseline
    return (
        difference - reach(candidate - low_c, high_b - baseline),
        difference + reach(high_c - candidate, baseline - low_b),
    )


def design_effect(values: Floats, clusters: npt.NDArray[Any]) -> float:
    """How much clustering inflates the variance of a mean, at least 1 (Rao and Scott 1992, Biometrics 48:577-585).

    Where the values do not vary, dependence cannot be seen in them; the cautious value is taken, that of items which
    repeat their cluster exactly: sum of squared sizes / items.

    Args:
        values: (items,) scores or differences.
        clusters: (items,) labels.
    """
    sizes, sums = cluster_totals(values, clusters)
    items, groups = len(values), len(sizes)
    if groups == items:
        return 1.0
    repeated = float((sizes**2).sum() / items)
    mean = values.mean()
    naive = float(((values - mean) ** 2).sum() / items**2)
    if naive == 0 or groups < 2:
        return repeated
    residuals = sums - sizes * mean
    clustered = groups / (groups - 1) * float((residuals**2).sum()) / items**2
    return max(1.0, clustered / naive)


# --------------------------------------------------------------------------------------- means, clustered or not


def effective_degrees(totals: Floats) -> Floats:
    """Degrees of freedom of a variance that is estimated from the totals of clusters.

    The relative variance of the estimate is (kurtosis - 1) / C for C clusters, that of a chi-square 2 / degrees
    (Satterthwaite 1946, Biometrics Bulletin 2:110-114). Where a few clusters hold most of the spread, the estimate is
    worth little, however many clusters tie.

    Args:
        totals: (..., clusters) centred totals.

    Returns:
        (...) between 0, where nothing varies, and clusters - 1.
    """
    clusters = totals.shape[-1]
    squares = (totals**2).sum(axis=-1)
    fourths = (totals**4).sum(axis=-1)
    share = squares**2 / np.where(fourths > 0, fourths, 1.0)  # clusters / kurtosis
    found: Floats = np.minimum(2 * clusters * share / np.maximum(clusters - share, 1e-9), clusters - 1)
    return found


def cluster_totals(values: Floats, clusters: npt.NDArray[Any]) -> tuple[Floats, Floats]:
    """Sizes (clusters,) and sums (clusters, ...) of values (items, ...), in the order of the sorted labels."""
    labels, index = np.unique(clusters, return_inverse=True)
    sizes = np.bincount(index, minlength=len(labels)).astype(np.float64)
    sums = np.zeros((len(labels), *values.shape[1:]))
    np.add.at(sums, index, values)
    return sizes, sums


def clustered_mean(values: Floats, clusters: npt.NDArray[Any], alpha: float) -> Interval:
    """Mean with a cluster-robust standard error and Student's t (Miller 2024, arXiv:2411.00640, appendix A).

    SE^2 = C / (C - 1) * sum over clusters of (sum of residuals)^2 / n^2, with C clusters and n items; t has C - 1
    degrees of freedom.

    Args:
        values: (items,) scores or paired differences.
        clusters: (items,) labels.
        alpha: 1 - level.
    """
    method = "mean with clustered standard error, Student's t"
    items = len(values)
    if items == 0:
        return no_interval(method)
    sizes, sums = cluster_totals(values, clusters)
    mean, groups = float(values.mean()), len(sizes)
    if groups < 2:
        return no_interval(method, items, groups, mean)
    residuals = sums - sizes * mean
    error = math.sqrt(groups / (groups - 1) * float((residuals**2).sum())) / items
    reach = float(student_quantile(1 - alpha / 2, groups - 1)) * error
    return Interval(mean, mean - reach, mean + reach, items, groups, method)


def proportion(scores: Floats, clusters: npt.NDArray[Any], alpha: float) -> Interval:
    """Wilson interval of the mean of binary scores, on effective counts where items are clustered."""
    items, groups = len(scores), len(set(clusters.tolist()))
    if items == 0:
        return no_interval("Wilson score")
    effect = design_effect(scores, clusters)
    low, high = wilson(float(scores.sum()) / effect, items / effect, alpha)
    return Interval(float(scores.mean()), low, high, items, groups, "Wilson score")
