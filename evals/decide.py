"""From an interval to pass, fail or inconclusive, in numbers and words. One end of it decides, never a point."""

from __future__ import annotations

import math

from curate.power import POWER, items_for_gain, items_for_margin, items_for_variance, items_needed
from curate.score_test import MIN_CLUSTERS
from evals.comparison import Comparison
from evals.stats import Interval
from schemas.config import TaskGate
from schemas.verdict import Outcome, Standing


def shown_above(comparison: Comparison, bar: float, alpha: float) -> Outcome:
    """As `above`; continuous scores pass only where the sign-flip permutation test agrees with the interval."""
    outcome = above(comparison.interval, bar)
    p = comparison.p_not_above(bar) if outcome is Outcome.PASS else None
    return outcome if p is None or p <= alpha / 2 else Outcome.INCONCLUSIVE


def standing(comparison: Comparison, outcome: Outcome, *, gain: float = 0.0, margin: float = 0.0) -> Standing:
    """The verdict behind the outcome of a comparison.

    Args:
        comparison: with its interval.
        outcome: what the gate made of it; it decides whether anything was shown.
        gain: that was asked for; above it the candidate has improved.
        margin: the largest loss that is acceptable.
    """
    interval = comparison.interval
    if outcome is Outcome.PASS:
        return Standing.IMPROVED if interval.low > gain else Standing.NON_INFERIOR
    if outcome is Outcome.FAIL:
        return Standing.REGRESSED if -margin <= interval.high < 0 else Standing.BLOCKED
    return Standing.STALE if outcome is Outcome.STALE else Standing.INCONCLUSIVE


def above(interval: Interval, bar: float) -> Outcome:
    """Pass when the whole interval is above the bar, fail when none of it is, inconclusive otherwise."""
    if not interval.is_evidence:
        return Outcome.INCONCLUSIVE
    if interval.low > bar:
        return Outcome.PASS
    return Outcome.FAIL if interval.high <= bar else Outcome.INCONCLUSIVE


def scores(comparison: Comparison, candidate: str, baseline: str, alpha: float) -> str:
    """Both scores, the difference and its interval, in words."""
    interval = comparison.interval
    said = (
        f"{candidate} scores {comparison.candidate_mean:.3f}, {baseline} {comparison.baseline_mean:.3f} on "
        f"{interval.items:,} items: difference {interval.estimate:+.3f}"
    )
    if math.isfinite(interval.low) and math.isfinite(interval.high):
        said += f", {1 - alpha:.0%} interval {interval.low:+.3f} to {interval.high:+.3f}"
    failed = [
        f"{name} failed on {count:,}"
        for name, count in ((candidate, comparison.candidate_failed), (baseline, comparison.baseline_failed))
        if count
    ]
    return said + (f" ({', '.join(failed)}, counted against the claim)" if failed else "")


def why_no_evidence(interval: Interval) -> str:
    """Why nothing can rest on an interval."""
    if interval.items == 0:
        return "no items were scored"
    if interval.clusters < MIN_CLUSTERS:
        return f"only {interval.clusters} independent items or clusters, at least {MIN_CLUSTERS} are needed"
    return "too few items differ for an interval around their mean"


def deciding_items(comparison: Comparison, bar: float, alpha: float, wanted: float = POWER) -> int | None:
    """Items that would decide, one way or the other, were the true difference what was measured.

    Args:
        comparison: what was measured; its share of discordant items (or the variance of its differences) and its
            design effect are taken as true.
        bar: the threshold. An estimate at or below it is shown to fail: below 0 for a loss, else below the threshold.
        alpha: level of the two-sided interval.
        wanted: probability of deciding.

    Returns:
        More items than there are; null where no number can be told.
    """
    interval, items = comparison.interval, comparison.interval.items
    if items == 0:
        return None
    side = bar if interval.estimate > bar else max(bar, 0.0)
    distance = abs(interval.estimate - side)
    if distance == 0 or (not comparison.binary and comparison.variance == 0):
        return None
    if comparison.binary:
        discordance = (comparison.gained + comparison.lost) / items
        sign = math.copysign(1.0, interval.estimate - side)  # a loss is shown as its mirror image, a gain
        truth, effect = sign * interval.estimate, comparison.design_effect
        needed = items_needed(truth, sign * side, discordance, alpha, wanted, effect)
    else:
        variance = comparison.variance * comparison.design_effect
        needed = max(math.ceil(items_for_variance(distance, variance, alpha, wanted)), MIN_CLUSTERS)
    return needed if needed > items else 2 * items  # these had the power, and did not decide


def planned_items(condition: TaskGate, alpha: float) -> str:
    """How many items can show, with power 0.8 in the worst case, what the config asks for."""
    if condition.must == "improve":
        effect = condition.detect or 1.0
        if effect <= condition.min_gain:
            return f"but none show more than {condition.min_gain:g} where the true gain is {effect:g}; raise `detect`"
        items = items_for_gain(effect, alpha, condition.min_gain)
        return f"about {items:,} items can show a gain of {effect:g}; raise evals.limit"
    effect, items = condition.margin or 1.0, items_for_margin(condition.margin or 1.0, alpha)
    return f"about {items:,} items can rule out a loss of {effect:g}; raise evals.limit"


def more_items(comparison: Comparison, bar: float, alpha: float, condition: TaskGate) -> str:
    """Advice on the number of items after an inconclusive comparison.

    Args:
        comparison: what was measured.
        bar: the threshold.
        alpha: level of the two-sided interval.
        condition: what the config asks for, where no number of items would carry the estimate over the threshold.
    """
    needed = deciding_items(comparison, bar, alpha)
    if needed is None or comparison.interval.estimate <= bar:
        plan = planned_items(condition, alpha)
        return f"the estimate does not exceed the threshold: train a better candidate, or score more items: {plan}"
    return f"about {needed:,} items would decide if the true difference is the one measured; raise evals.limit"
