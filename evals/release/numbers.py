"""Intervals as a report holds them."""

from __future__ import annotations

import math

from evals.stats import Interval
from schemas.compare import Measured

FIGURES = 6


def rounded(value: float) -> float | None:
    """A number to FIGURES significant figures, since divergences of equal models are tiny; null where it is none."""
    return float(f"{value:.{FIGURES}g}") if math.isfinite(value) else None


def measured(interval: Interval) -> Measured:
    """An interval as plain numbers."""
    return Measured(
        estimate=rounded(interval.estimate),
        low=rounded(interval.low),
        high=rounded(interval.high),
        items=interval.items,
        clusters=interval.clusters,
        method=interval.method,
    )
