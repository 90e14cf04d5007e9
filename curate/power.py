"""How large a difference a number of items can show: planning of paired comparisons on right-or-wrong items.

Two models answer the same n items. Let d be the true difference of their accuracies and psi the discordance: the share
of items that exactly one of them answers correctly. The difference of one item has variance psi - d^2. A gate passes
when the lower end of the two-sided 1 - alpha interval clears its threshold, which uses one side of that interval; it
does so with probability `power` if

    distance = (z[1 - alpha/2] + z[power]) * sqrt((psi - d^2) / n)

where `distance` is the way from the threshold to d (normal approximation; Connor 1987, "Sample size for testing
differences in proportions for the paired-sample design", Biometrics 43, with the variance under the alternative in both
places).

psi is not known before the models run. Two models of about the same accuracy that err independently differ on at most
half of the items, so psi = 0.5 is taken, or d where d is larger: a difference of d needs d discordant items. Real pairs
of a base and a tuned model often differ on fewer items; the plan then errs on the safe side.
"""

from __future__ import annotations

import math
from statistics import NormalDist

WORST_DISCORDANCE = 0.5
POWER = 0.8


def items_needed(distance: float, discordance: float, alpha: float, power: float = POWER) -> float:
    """Items with which a true difference is shown with the given power.

    Args:
        distance: true difference less the threshold, above 0; the difference itself where the threshold is 0.
        discordance: share of items that exactly one model answers correctly; at least `distance`.
        alpha: level of the two-sided interval.
        power: probability of showing it.

    Raises:
        ValueError: a distance that is not positive.
    """
    if distance <= 0:
        raise ValueError(f"the distance must be positive, found {distance:g}")
    return items_for_variance(distance, max(discordance, distance) - distance**2, alpha, power)


def items_for_variance(distance: float, variance: float, alpha: float, power: float = POWER) -> float:
    """As `items_needed`, for scores of any kind whose difference of one item has this variance; distance above 0."""
    return _quantiles(alpha, power) ** 2 * variance / distance**2


def detectable_gain(items: int, alpha: float, discordance: float = WORST_DISCORDANCE, power: float = POWER) -> float:
    """The smallest true gain over the base that is shown to be above 0 with the given power; 1.0 or more is hopeless.

    Args:
        items: number of paired items.
        alpha: level of the two-sided interval.
        discordance: share of items on which the models differ.
        power: probability of showing it.
    """
    if items <= 0:
        return math.inf
    factor = _quantiles(alpha, power) ** 2 / items
    gain = math.sqrt(factor * discordance / (1.0 + factor))
    # A gain above the discordance is impossible: there the gain is the discordance.
    return gain if gain <= discordance else factor / (1.0 + factor)


def detectable_margin(items: int, alpha: float, discordance: float = WORST_DISCORDANCE, power: float = POWER) -> float:
    """The smallest margin within which two equally good models are shown to be equal with the given power.

    Args: as `detectable_gain`; the true difference is taken as 0.
    """
    return math.inf if items <= 0 else _quantiles(alpha, power) * math.sqrt(discordance / items)


def items_for_gain(gain: float, alpha: float) -> int:
    """Items that show a true gain with power 0.8 in the worst case."""
    return math.ceil(items_needed(gain, WORST_DISCORDANCE, alpha))


def items_for_margin(margin: float, alpha: float) -> int:
    """Items that show two equally good models to be equal within a margin, with power 0.8 in the worst case."""
    return math.ceil((_quantiles(alpha, POWER) / margin) ** 2 * WORST_DISCORDANCE)


def _quantiles(alpha: float, power: float) -> float:
    normal = NormalDist()
    return normal.inv_cdf(1.0 - alpha / 2.0) + normal.inv_cdf(power)
