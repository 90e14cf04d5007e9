"""The score test of the difference of two paired proportions: what a plan counts on and what the gate decides by.

A difference is candidate minus baseline on the same items, so positive is better. scipy is loaded where called.
"""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]

MIN_CLUSTERS = 10
"""Below this many clusters, the spread between clusters cannot be estimated: verdicts are inconclusive."""
FEW_DISCORDANT = 20
"""Effective discordant items from which on the score test needs no correction for continuity."""


def score_statistic(gained: Floats, lost: Floats, items: Floats, difference: Floats, correction: Floats) -> Floats:
    """How many standard deviations the counts lie from a difference, never below 0 (Tango 1998, Stat. Med. 17:891-908).

    The nuisance parameter, the share of losses, is its maximum-likelihood value under that difference. All arguments
    broadcast.

    Args:
        gained: items that only the candidate got right; effective counts need not be whole.
        lost: items that only the baseline got right.
        items: all items, > 0.
        difference: the tested one, in [-1, 1].
        correction: for continuity, in items: taken off the distance before it is compared with its deviation.
    """
    b = (2 * items - gained + lost) * difference - gained - lost
    root = np.sqrt(np.maximum(b * b + 8 * items * lost * difference * (1 - difference), 0.0))
    variance = items * ((root - b) / (2 * items) + difference * (1 - difference))
    distance = np.maximum(np.abs(gained - lost - items * difference) - correction, 0.0)
    known = variance > 0
    found: Floats = np.where(
        known, distance / np.sqrt(np.where(known, variance, 1.0)), np.where(distance > 0, np.inf, 0.0)
    )
    return found


def continuity(discordant: Floats) -> Floats:
    """Items to take off the distance for continuity: half of one for none discordant, nothing from 20 on."""
    found: Floats = 0.5 * np.maximum(0.0, 1 - discordant / FEW_DISCORDANT)
    return found


def student_quantile(probability: float, degrees: npt.ArrayLike) -> Floats:
    """Quantile of Student's t for each number of degrees of freedom."""
    from scipy.special import stdtrit

    found: Floats = stdtrit(degrees, probability)
    return found
