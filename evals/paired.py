"""Intervals and tests of the mean difference between two models on the same items, as the gate uses them.

Each rests on a formula of `evals/stats.py` or `evals/bootstrap.py` and adds what small samples need. What was added was
chosen by simulation (`benchmarks/gate_simulation.py`); docs/statistics.md has the figures. All take the totals of
clusters, with leading dimensions for many data sets of the same shape.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from curate.score_test import continuity, student_quantile
from evals.bootstrap import DRAWS, bca_ends
from evals.stats import (
    Floats,
    Interval,
    cluster_totals,
    effective_degrees,
    no_interval,
    tango,
)

FEW_DEGREES = 50
"""Effective degrees of freedom from which on the observed design effect is believed as it is."""
LEAST_EFFECT = 0.25
"""Design effects below it are noise: no test set has clusters whose items balance each other that well."""
FEW_DIFFERING = 20
"""Clusters with a difference from which on the spread of continuous differences can be estimated where many tie, or
where nothing bounds them."""
FLIPS = 4000
EXACT_FLIPS = 12
"""Up to this many clusters every combination of signs is tried."""


# --------------------------------------------------------------------------------------------------------- binary


def paired_design_effect(
    gained: Floats, lost: Floats, sizes: Floats, few_degrees: float = FEW_DEGREES
) -> tuple[Floats, Floats]:
    """Design effect of a paired binary difference, and how many degrees of freedom its estimate has.

    The ratio of clustered to independent variance (Rao and Scott 1992, Biometrics 48:577-585), shrunk towards that of
    items which repeat their cluster exactly: one wholly discordant cluster is added to the sums, the less the more
    degrees of freedom there are (`effective_degrees`). A few discordant items that happen to lie in different clusters
    are no evidence that clusters do not matter; without it, losses that come as whole clusters pass.

    Args:
        gained: (..., clusters) items that only the candidate got right.
        lost: (..., clusters).
        sizes: (clusters,) items.
        few_degrees: degrees of freedom from which on nothing is added.
    """
    items, clusters = float(sizes.sum()), len(sizes)
    if clusters == items:
        return np.ones(gained.shape[:-1]), np.full(gained.shape[:-1], clusters - 1.0)
    repeated = float((sizes**2).sum()) / items
    totals = gained - lost
    mean = totals.sum(axis=-1) / items
    residuals = totals - sizes * mean[..., None]
    naive = (gained + lost).sum(axis=-1) - items * mean**2
    clustered = clusters / max(clusters - 1, 1) * (residuals**2).sum(axis=-1)
    degrees = effective_degrees(residuals)
    added = np.where(naive > 0, np.maximum(0.0, 1 - degrees / few_degrees), 1.0) * repeated
    found = (clustered + added * repeated) / np.where(naive + added > 0, naive + added, 1.0)
    return np.maximum(found, LEAST_EFFECT), degrees


def binary_ends(gained: Floats, lost: Floats, sizes: Floats, alpha: float) -> tuple[Floats, Floats]:
    """Ends of the interval of the mean difference of two binary scores.

    Tango's score interval on counts divided by the design effect, with Student's quantile at clusters - 1 degrees of
    freedom. With fewer than FEW_DISCORDANT effective discordant items half an item is taken off the distance, fading
    to nothing, since their number jumps by whole items.

    Args: as `paired_design_effect`; alpha: 1 - level.
    """
    effect, _ = paired_design_effect(gained, lost, sizes)
    return score_ends(gained.sum(axis=-1) / effect, lost.sum(axis=-1) / effect, sizes.sum() / effect, len(sizes), alpha)


def score_ends(
    gained: Floats, lost: Floats, items: npt.ArrayLike, clusters: int, alpha: float
) -> tuple[Floats, Floats]:
    """`binary_ends` from effective counts."""
    quantile = student_quantile(1 - alpha / 2, clusters - 1)
    return tango(gained, lost, items, quantile, continuity(gained + lost))


def binary_p_worse(gained: Floats, lost: Floats, sizes: Floats) -> Floats:
    """One-sided p-value that the candidate is not worse: below alpha / 2 exactly where `binary_ends` lie below 0."""
    from scipy.special import stdtr

    effect, _ = paired_design_effect(gained, lost, sizes)
    gain, loss = gained.sum(axis=-1) / effect, lost.sum(axis=-1) / effect
    discordant = gain + loss
    distance = np.minimum(gain - loss + continuity(discordant), 0.0)
    found: Floats = stdtr(len(sizes) - 1, distance / np.sqrt(np.where(discordant > 0, discordant, 1.0)))
    return found


def paired_binary(candidate: Floats, baseline: Floats, clusters: npt.NDArray[Any], alpha: float) -> Interval:
    """Interval of the mean difference of two binary scores.

    Args:
        candidate: (items,) of 0 or 1.
        baseline: (items,) of 0 or 1, the same items in the same order.
        clusters: (items,) labels.
        alpha: 1 - level.
    """
    items, groups = len(candidate), len(set(clusters.tolist()))
    method = "Tango score" if groups == items else "Tango score, counts divided by the design effect of clusters"
    if items == 0:
        return no_interval(method)
    difference = candidate - baseline
    estimate = float(difference.mean())
    if groups < 2:
        return no_interval(method, items, groups, estimate)
    sizes, _ = cluster_totals(difference, clusters)
    low, high = binary_ends(*sign_counts(difference, clusters), sizes, alpha)
    return Interval(estimate, float(low), float(high), items, groups, method)


def sign_counts(difference: Floats, clusters: npt.NDArray[Any]) -> tuple[Floats, Floats]:
    """Items of each cluster with a positive and with a negative difference, each (clusters,)."""
    signs = np.stack([difference > 0, difference < 0], axis=1).astype(np.float64)
    _, sums = cluster_totals(signs, clusters)
    return sums[:, 0], sums[:, 1]


# ----------------------------------------------------------------------------------------------------- continuous


def continuous_ends(
    totals: Floats, sizes: Floats, alpha: float, seed: int, draws: int = DRAWS
) -> tuple[Floats, Floats]:
    """Ends of the interval of a mean of continuous differences: on each side the farther of two.

    One is the BCa cluster bootstrap (`bca_ends`), which follows skew; the other the mean with a cluster-robust standard
    error and Student's t at `effective_degrees` (Miller 2024, arXiv:2411.00640), which does not trust a handful of
    differences among ties as the bootstrap does.

    Args:
        totals: (..., clusters) sums of differences; at most one leading dimension.
        sizes: (clusters,) items.
        alpha: 1 - level.
        seed: of the resampling.
        draws: bootstrap replicates.
    """
    sets, items, clusters = np.atleast_2d(totals), sizes.sum(), len(sizes)
    columns = np.stack([sets.T, np.broadcast_to(sizes[:, None], sets.T.shape)], axis=2)
    estimate, low, high = bca_ends([columns], lambda sums: sums[0][..., 0] / sums[0][..., 1], alpha, seed, draws)
    residuals = sets - sizes * estimate[:, None]
    error = np.sqrt(clusters / (clusters - 1) * (residuals**2).sum(axis=-1)) / items
    reach = student_quantile(1 - alpha / 2, np.maximum(effective_degrees(residuals), 1.0)) * error
    low, high = np.minimum(low, estimate - reach), np.maximum(high, estimate + reach)
    return low.reshape(totals.shape[:-1]), high.reshape(totals.shape[:-1])


def few_differ(totals: Floats, *, bounded: bool) -> npt.NDArray[np.bool_]:
    """Whether too few clusters have a difference to estimate a spread from; totals are (..., clusters).

    Bounded differences of which none ties can be fewer: no rare large one is missing from them.
    """
    differing = (totals != 0).sum(axis=-1)
    found: npt.NDArray[np.bool_] = (differing < FEW_DIFFERING) & (~np.bool_(bounded) | (differing < totals.shape[-1]))
    return found


def bounded_ends(gained: Floats, lost: Floats, sizes: Floats, alpha: float) -> tuple[Floats, Floats]:
    """Ends for differences in [-1, 1] of which only the signs are used: each counts as a whole item lost or gained.

    The mean is at least minus the share of items that are worse, and at most the share that is better.
    """
    nothing = np.zeros_like(lost)
    return binary_ends(nothing, lost, sizes, alpha)[0], binary_ends(gained, nothing, sizes, alpha)[1]


def paired_continuous(
    difference: Floats, clusters: npt.NDArray[Any], alpha: float, seed: int, *, bounded: bool
) -> Interval:
    """Interval of the mean of continuous differences.

    With too few clusters that differ (`few_differ`), differences in [-1, 1] get the wider of two intervals, the other
    being that of their signs; unbounded ones get none, since nothing says how large the next one may be.

    Args:
        difference: (items,) candidate minus baseline.
        clusters: (items,) labels.
        alpha: 1 - level.
        seed: of the resampling.
        bounded: both scores lie in [0, 1] by their nature.
    """
    method = "mean, the wider of BCa cluster bootstrap and clustered t"
    items, groups = len(difference), len(set(clusters.tolist()))
    if groups < 2:
        return no_interval(method, items, groups, float(difference.mean()) if items else np.nan)
    sizes, totals = cluster_totals(difference, clusters)
    estimate = float(difference.mean())
    few = bool(few_differ(totals, bounded=bounded))
    if few and not bounded:
        return no_interval(method, items, groups, estimate)
    low, high = continuous_ends(totals, sizes, alpha, seed)
    if few:
        method = "mean, the wider of BCa cluster bootstrap, clustered t and the signs of the few that differ"
        outer = bounded_ends(*sign_counts(difference, clusters), sizes, alpha)
        low, high = np.minimum(low, outer[0]), np.maximum(high, outer[1])
    return Interval(estimate, float(low), float(high), items, groups, method)


def sign_flip_p(totals: Floats, sizes: Floats, bar: float, seed: int) -> float:
    """One-sided p-value that a mean is not above a bar, by flipping the signs of whole clusters.

    Under the hypothesis each cluster's total less bar times its size is as likely to be positive as negative (Fisher
    1935, The Design of Experiments, section 21; exact for symmetric totals). Up to 12 clusters all combinations are
    tried, else FLIPS random ones; the observed one counts (Phipson and Smyth 2010, Stat. Appl. Genet. Mol. Biol. 9:39).

    Args:
        totals: (clusters,) sums of differences.
        sizes: (clusters,) items.
        bar: the mean that is tested.
        seed: of the random signs.
    """
    excess = totals - bar * sizes
    clusters = len(excess)
    if clusters <= EXACT_FLIPS:
        bits = np.arange(1 << clusters)[:, None] >> np.arange(clusters) & 1
        flipped = (1 - 2 * bits) @ excess
        return float((flipped >= excess.sum() - _rounding(excess)).mean())
    signs = np.random.default_rng(seed).integers(0, 2, size=(FLIPS, clusters)) * 2 - 1
    extreme = int((signs @ excess >= excess.sum() - _rounding(excess)).sum())
    return (extreme + 1) / (FLIPS + 1)


def _rounding(excess: Floats) -> float:
    return 1e-12 * float(np.abs(excess).sum())
