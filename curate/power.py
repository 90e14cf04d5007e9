"""How large a difference a number of items can show: planning of paired comparisons on right-or-wrong items.

Two models answer the same n items. Let d be the true difference of their accuracies and psi the discordance: the share
of items that exactly one of them answers correctly. The gate passes when the lower end of its two-sided 1 - alpha
interval clears a threshold, which is when the score statistic of the counts there exceeds Student's quantile
(`curate/score_test.py`). How often it does is not approximated: the number of discordant items is binomial (n, psi),
the number of gains among them binomial with probability (psi + d) / (2 psi), and the counts that pass are added up.
Only beyond EXACT_ITEMS, and for scores that are not right or wrong, the normal approximation stands in, by which

    distance = (z[1 - alpha/2] + z[power]) * sqrt((psi - d^2) / n)

where `distance` is the way from the threshold to d (Connor 1987, "Sample size for testing differences in proportions
for the paired-sample design", Biometrics 43, with the variance under the alternative in both places).

psi is not known before the models run. Two models of about the same accuracy that err independently differ on at most
half of the items, so psi = 0.5 is taken, or d where d is larger: a difference of d needs d discordant items. Real pairs
of a base and a tuned model often differ on fewer items; the plan then errs on the safe side.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import NormalDist

import numpy as np

from curate.score_test import MIN_CLUSTERS, Floats, continuity, score_statistic, student_quantile

WORST_DISCORDANCE = 0.5
POWER = 0.8
EXACT_ITEMS = 200_000
"""Items up to which power is enumerated."""
LIKELY = 9
"""Standard deviations of the number of discordant items within which it is enumerated; 20 more on either side."""
STEPS = 24
"""Halvings of an effect that is searched for: to 7 digits."""


def power(items: float, discordance: float, truth: float, threshold: float, alpha: float) -> float:
    """Probability that the gate shows a difference above a threshold, by enumeration of the counts.

    Args:
        items: independent items; those in clusters count as items / design effect, which is rounded down.
        discordance: share of items that exactly one model answers correctly, at least |truth|.
        truth: true difference.
        threshold: what the lower end of the interval must exceed, in (-1, 1).
        alpha: level of the two-sided interval.
    """
    from scipy.special import betainc, gammaln, xlog1py, xlogy

    count = math.floor(items)
    if count < MIN_CLUSTERS:
        return 0.0
    reach = LIKELY * math.sqrt(count * discordance * (1 - discordance)) + 20
    first, last = math.floor(count * discordance - reach), math.ceil(count * discordance + reach)
    discordant = np.arange(max(0, first), min(count, last) + 1, dtype=np.float64)
    chance = np.exp(
        gammaln(count + 1)
        - gammaln(discordant + 1)
        - gammaln(count - discordant + 1)
        + xlogy(discordant, discordance)
        + xlog1py(count - discordant, -discordance)
    )
    needed = _gains_needed(discordant, count, threshold, alpha)
    gain = (discordance + truth) / (2 * discordance) if discordance else 0.5
    possible = np.clip(needed, 1, np.maximum(discordant, 1))
    shown = betainc(possible, np.maximum(discordant, 1) - possible + 1, gain)  # as many gains or more
    return float((chance * np.where(needed > discordant, 0.0, np.where(needed <= 0, 1.0, shown))).sum())


def _gains_needed(discordant: Floats, items: int, threshold: float, alpha: float) -> Floats:
    """The fewest gains of so many discordant items that pass; one more than all where none does."""
    quantile, correction = student_quantile(1 - alpha / 2, items - 1), continuity(discordant)
    count, bar = np.array(float(items)), np.array(threshold)
    low, high = np.full_like(discordant, -1.0), discordant + 1  # too few, enough
    for _ in range(int(discordant[-1]).bit_length() + 1):
        gained = np.floor((low + high) / 2)
        lost = discordant - gained
        passes = score_statistic(gained, lost, count, bar, correction) > quantile
        passes &= gained - lost > items * threshold
        searched = high - low > 1
        low, high = np.where(searched & ~passes, gained, low), np.where(searched & passes, gained, high)
    return high


def items_needed(
    truth: float, threshold: float, discordance: float, alpha: float, wanted: float = POWER, effect: float = 1.0
) -> int:
    """Items with which a true difference is shown to be above a threshold with the given power.

    Power rises with the items by small steps up and down, since counts are whole: the number is one at which it reaches
    what is wanted and with one item less does not.

    Args:
        truth: true difference, above the threshold.
        threshold: what the lower end of the interval must exceed.
        discordance: share of items that exactly one model answers correctly; at least |truth| is taken.
        alpha: level of the two-sided interval.
        wanted: probability of showing it.
        effect: design effect of clusters: so many times as many items are needed.

    Raises:
        ValueError: a truth that is not above the threshold.
    """
    if truth <= threshold:
        raise ValueError(f"the true difference must be above the threshold, found {truth:g} and {threshold:g}")
    psi = max(discordance, abs(truth))
    near = items_for_variance(truth - threshold, psi - truth**2, alpha, wanted)
    if near > EXACT_ITEMS:
        return math.ceil(near * effect)
    low, high = MIN_CLUSTERS - 1, max(MIN_CLUSTERS, math.ceil(near))
    while power(high, psi, truth, threshold, alpha) < wanted:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        enough = power(middle, psi, truth, threshold, alpha) >= wanted
        low, high = (low, middle) if enough else (middle, high)
    return math.ceil(high * effect)


def items_for_variance(distance: float, variance: float, alpha: float, wanted: float = POWER) -> float:
    """As `items_needed`, for scores of any kind whose difference of one item has this variance; distance above 0."""
    return (_quantiles(alpha, wanted) / distance) ** 2 * variance


def detectable_gain(
    items: int, alpha: float, discordance: float = WORST_DISCORDANCE, wanted: float = POWER, threshold: float = 0.0
) -> float:
    """The smallest true gain that is shown to be above a threshold with the given power; infinite where none is.

    Args:
        items: number of independent paired items.
        alpha: level of the two-sided interval.
        discordance: share of items on which the models differ; the gain itself where that is larger.
        wanted: probability of showing it.
        threshold: what must be exceeded.
    """
    if items > EXACT_ITEMS:
        factor = _quantiles(alpha, wanted) ** 2 / items
        return threshold + math.sqrt(factor * discordance / (1.0 + factor))
    return _smallest(lambda gain: power(items, max(discordance, abs(gain)), gain, threshold, alpha), wanted, threshold)


def detectable_margin(items: int, alpha: float, discordance: float = WORST_DISCORDANCE, wanted: float = POWER) -> float:
    """The smallest margin within which two equally good models are shown to be equal with the given power.

    Args: as `detectable_gain`; the true difference is taken as 0.
    """
    if items > EXACT_ITEMS:
        return _quantiles(alpha, wanted) * math.sqrt(discordance / items)
    return _smallest(lambda margin: power(items, discordance, 0.0, -margin, alpha), wanted, 0.0)


def _smallest(reached: Callable[[float], float], wanted: float, low: float) -> float:
    high = 1 - 1e-9  # the score statistic has no deviation at a difference of 1
    if reached(high) < wanted:
        return math.inf
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if reached(middle) >= wanted else (middle, high)
    return high


def items_for_gain(gain: float, alpha: float, threshold: float = 0.0) -> int:
    """Items that show a true gain with power 0.8 in the worst case."""
    return items_needed(gain, threshold, WORST_DISCORDANCE, alpha)


def items_for_margin(margin: float, alpha: float) -> int:
    """Items that show two equally good models to be equal within a margin, with power 0.8 in the worst case."""
    return items_needed(0.0, -margin, WORST_DISCORDANCE, alpha)


def _quantiles(alpha: float, wanted: float) -> float:
    normal = NormalDist()
    return normal.inv_cdf(1.0 - alpha / 2.0) + normal.inv_cdf(wanted)
