"""Cluster bootstrap with bias-corrected and accelerated intervals, for statistics of sums over clusters."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import NormalDist

import numpy as np

from curate.score_test import student_quantile
from evals.stats import Floats

DRAWS = 4000
CELLS = 4_000_000
"""Most resampling weights held at a time (draws x clusters)."""

Statistic = Callable[[Sequence[Floats]], Floats]
"""Sums of each stratum, each (..., columns), to the statistic (...)."""


def bca(
    strata: Sequence[Floats], statistic: Statistic, alpha: float, seed: int, draws: int = DRAWS
) -> tuple[float, float, float]:
    """Estimate and BCa interval of a function of sums, resampling whole clusters inside each stratum.

    See `bca_ends`, which does the same for many data sets at once.

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
    estimate, low, high = bca_ends([stratum[:, None] for stratum in strata], statistic, alpha, seed, draws)
    return float(estimate[0]), float(low[0]), float(high[0])


def bca_ends(
    strata: Sequence[Floats], statistic: Statistic, alpha: float, seed: int, draws: int = DRAWS
) -> tuple[Floats, Floats, Floats]:
    """Estimates and BCa intervals of many data sets of the same shape, resampled alike.

    Bias correction and acceleration are those of Efron 1987 (JASA 82:171-185); the acceleration of several samples
    pools their leave-one-cluster-out influence values, each divided by its number of clusters. Where the fewest
    clusters of a stratum are C, the normal quantile is replaced by sqrt(C / (C - 1)) times Student's with C - 1 degrees
    of freedom, which takes back that resampling C clusters understates their spread (Hesterberg 2015, The American
    Statistician 69:371-386).

    Args:
        strata: independent samples, each (clusters, sets, columns).
        statistic: see `bca`; of (..., sets, columns) to (..., sets).
        alpha: 1 - level of the two-sided intervals.
        seed: of the resampling.
        draws: bootstrap replicates.

    Returns:
        Estimates, lower and upper ends, each (sets,).
    """
    from scipy.special import ndtr, ndtri

    sums = [stratum.sum(axis=0) for stratum in strata]
    estimate = statistic(sums)
    drawn = statistic(_resampled(strata, draws, np.random.default_rng(seed)))
    defined = np.isfinite(drawn).all(axis=0)
    replicates = np.sort(np.where(defined, drawn, 0.0), axis=0)
    below = ((replicates < estimate).mean(axis=0) + (replicates <= estimate).mean(axis=0)) / 2
    bias = ndtri(np.clip(below, 0.5 / draws, 1 - 0.5 / draws))
    with np.errstate(invalid="ignore"):  # where the statistic is not defined without a cluster
        acceleration = np.nan_to_num(_acceleration(strata, sums, statistic))
    reach = _expanded_quantile(1 - alpha / 2, min(len(stratum) for stratum in strata))
    fixed = defined & (replicates[0] == replicates[-1])

    def end(quantile: float) -> Floats:
        shifted = bias + quantile
        adjusted = ndtr(bias + shifted / np.maximum(1 - acceleration * shifted, 1e-9))
        return np.where(fixed, estimate, np.where(defined, _sorted_quantile(replicates, adjusted), np.nan))

    return estimate, end(-reach), end(reach)


def _expanded_quantile(probability: float, clusters: int) -> float:
    if clusters < 2:
        return NormalDist().inv_cdf(probability)
    return math.sqrt(clusters / (clusters - 1)) * float(student_quantile(probability, clusters - 1))


def _sorted_quantile(replicates: Floats, probabilities: Floats) -> Floats:
    """The quantile of each column of (draws, sets), sorted, interpolated linearly; probabilities are (sets,)."""
    place = probabilities * (len(replicates) - 1)
    lower = np.floor(place).astype(np.int64)
    upper, sets = np.minimum(lower + 1, len(replicates) - 1), np.arange(replicates.shape[1])
    found: Floats = replicates[lower, sets] + (place - lower) * (replicates[upper, sets] - replicates[lower, sets])
    return found


def _resampled(strata: Sequence[Floats], draws: int, rng: np.random.Generator) -> list[Floats]:
    found = []
    for stratum in strata:
        clusters = len(stratum)
        step = max(1, CELLS // clusters)
        parts = []
        for start in range(0, draws, step):
            weights = rng.multinomial(clusters, np.full(clusters, 1 / clusters), size=min(step, draws - start))
            parts.append(np.tensordot(weights.astype(np.float64), stratum, axes=1))
        found.append(np.concatenate(parts))
    return found


def _acceleration(strata: Sequence[Floats], sums: Sequence[Floats], statistic: Statistic) -> Floats:
    influences = []
    for place, stratum in enumerate(strata):
        clusters = len(stratum)
        if clusters < 2:
            continue
        without = [np.broadcast_to(total, stratum.shape) for total in sums]
        without[place] = sums[place] - stratum
        left_out = statistic(without)
        influences.append((clusters - 1) * (left_out.mean(axis=0) - left_out) / clusters)
    pooled = np.concatenate(influences) if influences else np.zeros((1, sums[0].shape[0]))
    spread = (pooled**2).sum(axis=0) ** 1.5
    usable = (spread > 0) & np.isfinite(spread)
    return np.where(usable, (pooled**3).sum(axis=0) / (6 * np.where(usable, spread, 1.0)), 0.0)
