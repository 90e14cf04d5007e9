"""Cluster bootstrap with bias-corrected and accelerated intervals, for statistics of sums over clusters."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt

from evals.stats import Floats, Interval, cluster_totals, no_interval

DRAWS = 4000
CELLS = 4_000_000
"""Most resampling weights held at a time (draws x clusters)."""

Statistic = Callable[[Sequence[Floats]], Floats]
"""Sums of each stratum, each (..., columns), to the statistic (...)."""


def bca(
    strata: Sequence[Floats], statistic: Statistic, alpha: float, seed: int, draws: int = DRAWS
) -> tuple[float, float, float]:
    """Estimate and BCa interval of a function of sums, resampling whole clusters inside each stratum.

    Bias correction and acceleration are those of Efron 1987 (JASA 82:171-185); the acceleration of several samples
    pools their leave-one-cluster-out influence values, each divided by its number of clusters.

    Args:
        strata: independent samples, each (clusters, columns) of sums over one cluster.
        statistic: from the strata's column sums to the number; must accept leading dimensions.
        alpha: 1 - level of the two-sided interval.
        seed: of the resampling; the same seed gives the same interval.
        draws: bootstrap replicates.

    Returns:
        Estimate, low, high. Replicates that do not vary give an interval of no width; not a number where the statistic
        is not defined in some replicate.
    """
    sums = [stratum.sum(axis=0) for stratum in strata]
    estimate = float(statistic(sums))
    replicates = statistic(_resampled(strata, draws, np.random.default_rng(seed)))
    if not np.isfinite(replicates).all():
        return estimate, math.nan, math.nan
    if np.ptp(replicates) == 0:
        return estimate, estimate, estimate
    normal = NormalDist()
    below = float((replicates < estimate).mean() + (replicates == estimate).mean() / 2)
    bias = normal.inv_cdf(min(max(below, 0.5 / draws), 1 - 0.5 / draws))
    acceleration = _acceleration(strata, sums, statistic)

    def end(probability: float) -> float:
        shifted = bias + normal.inv_cdf(probability)
        adjusted = normal.cdf(bias + shifted / max(1 - acceleration * shifted, 1e-9))
        return float(np.quantile(replicates, adjusted))

    return estimate, end(alpha / 2), end(1 - alpha / 2)


def _resampled(strata: Sequence[Floats], draws: int, rng: np.random.Generator) -> list[Floats]:
    found = []
    for stratum in strata:
        clusters = len(stratum)
        step = max(1, CELLS // clusters)
        parts = []
        for start in range(0, draws, step):
            weights = rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=min(step, draws - start))
            parts.append(weights @ stratum)
        found.append(np.concatenate(parts))
    return found


def _acceleration(strata: Sequence[Floats], sums: Sequence[Floats], statistic: Statistic) -> float:
    influences = []
    for place, stratum in enumerate(strata):
        clusters = len(stratum)
        if clusters < 2:
            continue
        without = [np.broadcast_to(total, stratum.shape) for total in sums]
        without[place] = sums[place] - stratum
        left_out = statistic(without)
        influences.append((clusters - 1) * (left_out.mean() - left_out) / clusters)
    pooled = np.concatenate(influences) if influences else np.zeros(1)
    spread = float((pooled**2).sum()) ** 1.5
    return float((pooled**3).sum()) / (6 * spread) if spread > 0 and math.isfinite(spread) else 0.0


def bootstrap_mean(values: Floats, clusters: npt.NDArray[Any], alpha: float, seed: int) -> Interval:
    """BCa cluster bootstrap of the mean of continuous scores or paired differences.

    Args:
        values: (items,).
        clusters: (items,) labels.
        alpha: 1 - level.
        seed: of the resampling.
    """
    method = "mean, BCa cluster bootstrap"
    if len(values) == 0:
        return no_interval(method)
    sizes, totals = cluster_totals(values, clusters)
    stacked = np.stack([totals, sizes], axis=1)
    estimate, low, high = bca([stacked], lambda sums: sums[0][..., 0] / sums[0][..., 1], alpha, seed)
    return Interval(estimate, low, high, len(values), len(sizes), method)
