"""What overfitting measurements share: from an effect with its interval to an outcome, a p-value, numbers and words."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import Any

from schemas.verdict import Check, Outcome


class When(StrEnum):
    """Which measurements are judged where the config does not name them."""

    ALWAYS = "always"
    """Mandatory: one that is switched off is told."""
    TOLD = "told"
    """Where it applies; where it does not, the verdict says why."""
    QUIET = "quiet"
    """Where it applies."""
    NAMED = "named"
    """Only where the config names it, because it costs passes of its own."""


Ends = tuple[float, float, float]
"""Estimate, low, high."""
Interval = Callable[[float], Ends]
"""Level alpha -> the two-sided interval at 1 - alpha."""

LEAST_P = 1e-4
"""Resampling cannot show less."""
STEPS = 12
MORE_ROWS = "raise evals.limit, evals.trained_rows or train.max_examples, so that more rows can be compared"
FEWER_EPOCHS = "train on more rows, for fewer epochs, or with a lower rank or learning rate"


def p_above(interval: Interval, bound: float) -> float:
    """One-sided p-value that an effect is not above a bound, by inverting its interval.

    Half the least alpha whose interval lies above the bound, at least `LEAST_P`, within a factor of 1.5; 1 where the
    estimate itself is not above.
    """
    if not interval(0.999)[1] > bound:
        return 1.0
    low, high = math.log(2 * LEAST_P), 0.0  # the interval at `high` lies above the bound
    if interval(math.exp(low))[1] > bound:
        return LEAST_P
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if interval(math.exp(middle))[1] > bound else (middle, high)
    return math.exp(high) / 2


def outcome_of(ends: Ends, bound: float) -> Outcome:
    """Fail when the whole interval is above the bound, pass when none of it is, inconclusive otherwise."""
    if not all(math.isfinite(end) for end in ends):
        return Outcome.INCONCLUSIVE
    if ends[1] > bound:
        return Outcome.FAIL
    return Outcome.PASS if ends[2] <= bound else Outcome.INCONCLUSIVE


def apart(first: Ends, second: Ends) -> Ends:
    """How far the first of two independent numbers is above the second: square-and-add of their intervals.

    Newcombe 1998 (Statistics in Medicine 17:873-890, method 10, which has Wilson's intervals in this place).
    """
    difference = first[0] - second[0]
    down = math.hypot(first[0] - first[1], second[2] - second[0])
    up = math.hypot(first[2] - first[0], second[0] - second[1])
    return difference, difference - down, difference + up


def as_dict(ends: Ends) -> dict[str, float | None]:
    """Plain numbers for a report; ends that do not exist are null."""
    names = ("estimate", "low", "high")
    return {name: round(end, 6) if math.isfinite(end) else None for name, end in zip(names, ends, strict=True)}


def words(ends: Ends | Mapping[str, float | None], form: str) -> str:
    """`+0.012 [-0.003, +0.027]`, in a format such as `+.3f`."""
    found = as_dict(ends) if isinstance(ends, tuple) else ends
    if found["low"] is None or found["high"] is None or found["estimate"] is None:
        return "not defined"
    return f"{found['estimate']:{form}} [{found['low']:{form}}, {found['high']:{form}}]"


def check(
    name: str,
    outcome: Outcome,
    message: str,
    measured: Mapping[str, Any],
    required: Mapping[str, Any],
    advice: str = "",
) -> Check:
    """The check `overfitting:<name>`."""
    return Check(
        name=f"overfitting:{name.replace('_', '-')}",
        outcome=outcome,
        message=message,
        measured=dict(measured),
        required=dict(required),
        help=advice,
    )
