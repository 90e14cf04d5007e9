"""How differently two sides spread over the same kinds of rows: labels, or topics."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import chndtr

from evals.drift.sample import Draw, Floats

Counts = NDArray[np.int64]


class Shift(NamedTuple):
    """Cramer's V with its interval, and the p-value of no difference."""

    v: float
    low: float
    high: float
    p: float


def shift_of(new: Counts, known: Counts, draw: Draw) -> Shift:
    """Compare the counts of each kind on both sides.

    Were there no difference, the new rows would be drawn from all rows without replacement: the p-value is that of
    Pearson's chi-square among such draws, so that rare kinds do no harm. V is what is left of the chi-square beyond
    what chance adds (Bergsma 2013, Journal of the Korean Statistical Society 42:323-328), and its interval comes from
    the non-central distribution (Smithson 2003, Confidence Intervals, chapter 4). V of unequal sides is smaller for the
    same shares; it is divided by its value for sides without anything in common, so that 1 says that.

    Args:
        new: rows of each kind, [kinds]. Where all rows are of one kind, nothing is known of how they would spread.
        known: the same of the other side.
        draw: how chance is drawn.
    """
    both = new + known
    new, both = new[both > 0], both[both > 0]
    rows, degrees = int(both.sum()), len(both) - 1
    if not degrees:
        return Shift(0.0, 0.0, 1.0, 1.0)
    found = float(chi_square(new[None], both)[0])
    drawn = draw.generator("draws").multivariate_hypergeometric(both, int(new.sum()), size=draw.permutations)
    share = new.sum() / rows
    largest = rows * 4 * share * (1 - share)

    def as_v(beyond: float) -> float:
        return min(1.0, math.sqrt(max(0.0, beyond) / largest))

    return Shift(
        v=as_v(found - degrees),
        low=as_v(_non_centrality(found, degrees, 1 - draw.alpha)),
        high=as_v(_non_centrality(found, degrees, draw.alpha)),
        p=draw.p_value(found, chi_square(drawn, both)),
    )


def chi_square(new: Counts, both: Counts) -> Floats:
    """Pearson's statistic of each table.

    Args:
        new: [tables, kinds], rows of one side.
        both: [kinds], rows of both.
    """
    share = new.sum(axis=1, keepdims=True) / both.sum()
    expected = share * both
    return np.asarray(((new - expected) ** 2 / (expected * (1 - share))).sum(axis=1))


def _non_centrality(found: float, degrees: int, level: float) -> float:
    """The non-centrality under which values up to the one found have this probability; 0 where none is that small."""
    if chndtr(found, degrees, 0.0) <= level:
        return 0.0
    missing: Callable[[float], float] = lambda beyond: float(chndtr(found, degrees, beyond)) - level  # noqa: E731
    top = found + 10.0
    while missing(top) > 0:
        top *= 2
    return float(brentq(missing, 0.0, top))
