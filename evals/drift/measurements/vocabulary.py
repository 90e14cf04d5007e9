"""Whether new rows use words that the dataset does not know, beyond what its own held-out rows do."""

from __future__ import annotations

import math

import numpy as np

from curate.score_test import student_quantile
from evals.drift.sample import Draw, Found, Sample
from evals.stats import Floats
from schemas.drift import DriftEffect

NAME = "vocabulary"
TITLE = "Words that are not known"


def applies(sample: Sample) -> str:
    """Why it says nothing; empty where it applies."""
    return "" if any(sample.words) else "no text holds a word"


def measure(sample: Sample, bound: float, draw: Draw) -> Found:
    """Mean share of a row's words that half of the dataset does not know: new rows less the dataset's other half.

    Args:
        sample: both sides.
        bound: difference from which on it counts.
        draw: how chance is drawn.
    """
    known_words = {word for at in np.flatnonzero(sample.learned) for word in sample.words[int(at)]}
    measured = [sample.words[at] for at in sample.measured]
    shares = np.array([_unknown(words, known_words) for words in measured])
    new = sample.new[sample.measured]
    estimate, error, degrees = welch(shares[new], shares[~new])
    sides = draw.exchanges(new)
    by_chance = (shares @ sides) / new.sum() - (shares @ ~sides) / (~new).sum()
    reach = float(student_quantile(1 - draw.alpha, degrees)) * error
    effect = DriftEffect(
        estimate=estimate,
        low=estimate - reach,
        high=estimate + reach,
        bound=bound,
        p=draw.p_value(estimate, by_chance),
        method="difference of means, Welch's interval, permutation test",
    )
    told = (
        f"{shares[new].mean():.1%} of a new row's words are not known to half of the dataset, "
        f"beside {shares[~new].mean():.1%} of a row's of its other half"
    )
    return Found(effect, told, int(new.sum()), int((~new).sum()))


def _unknown(words: list[str], known: set[str]) -> float:
    return sum(word not in known for word in words) / len(words) if words else 0.0


def welch(first: Floats, second: Floats) -> tuple[float, float, float]:
    """Difference of two means, its standard error, and its degrees of freedom (Welch 1947, Biometrika 34:28-35).

    Args:
        first: at least two values.
        second: the same.
    """
    parts = first.var(ddof=1) / len(first), second.var(ddof=1) / len(second)
    total = sum(parts)
    below = parts[0] ** 2 / (len(first) - 1) + parts[1] ** 2 / (len(second) - 1)
    degrees = total**2 / below if below > 0 else float(len(first) + len(second) - 2)
    return float(first.mean() - second.mean()), math.sqrt(total), float(degrees)
