"""Classifier two-sample test (Lopez-Paz and Oquab 2017, arXiv:1610.06545): can a new row be told from a known one?

Where nothing has changed, no classifier that has not seen a row can tell its side, and the area under its curve is 1/2.
The classifier is logistic regression's first Newton step from zero, which is ridge regression on the side: its
equations do not hold the sides, so that all permutations are solved at once and the p-value is exact.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm, rankdata

from evals.drift.sample import Draw, Flags, Floats, Found, Sample, generator
from schemas.drift import DriftEffect

NAME = "classifier"
TITLE = "Telling new rows from known ones"
FOLDS = 5
RIDGE = 1.0


def applies(sample: Sample) -> str:
    """Why it says nothing; empty where it applies."""
    return "" if sample.vectors.any() else "no text holds a word"


def measure(sample: Sample, bound: float, draw: Draw) -> Found:
    """Area under the curve, each row judged by a classifier that was fitted to the other folds.

    Args:
        sample: both sides.
        bound: area from which on the difference counts.
        draw: how chance is drawn.
    """
    folds = fold_of(len(sample.new), draw.seed)
    sides = np.column_stack([sample.new, draw.exchanges(sample.new)])
    areas = mean_area(scores(sample.vectors, sides, folds), sides, folds)
    area, by_chance = float(areas[0]), areas[1:]
    # Folds learn from each other: near chance, that makes the deviation up to 1.4 times as large as DeLong's.
    error = max(
        deviation(scores(sample.vectors, sides[:, :1], folds)[:, 0], sample.new, folds), float(by_chance.std(ddof=1))
    )
    reach = norm.ppf(1 - draw.alpha) * error
    effect = DriftEffect(
        estimate=area,
        low=max(0.0, area - reach),
        high=min(1.0, area + reach),
        bound=bound,
        p=draw.p_value(area, by_chance),
        method="cross-validated area under the curve, DeLong's interval, permutation test",
    )
    told = f"of a new and a known row, a classifier takes the new one for new in {area:.1%} of pairs, chance in 50%"
    return Found(effect, told, int(sample.new.sum()), int((~sample.new).sum()))


def fold_of(rows: int, seed: int) -> NDArray[np.int64]:
    """The fold of each row, drawn without looking at its side."""
    return generator(seed, "folds").permutation(rows) % FOLDS


def out_of_fold(sample: Sample, seed: int) -> Floats:
    """How new each row looks to a classifier that has not seen it; larger is newer."""
    return scores(sample.vectors, sample.new[:, None], fold_of(len(sample.new), seed))[:, 0]


def scores(vectors: Floats, sides: Flags, folds: NDArray[np.int64]) -> Floats:
    """Out-of-fold scores for each column of sides: [rows, columns]."""
    found = np.zeros(sides.shape)
    for fold in range(FOLDS):
        inside, held = folds != fold, folds == fold
        if not held.any() or not inside.any():
            continue
        middle = vectors[inside].mean(axis=0)
        centred = vectors[inside] - middle
        equations = centred.T @ centred + RIDGE * np.eye(vectors.shape[1])
        weights = np.linalg.solve(equations, centred.T @ sides[inside].astype(np.float64))
        found[held] = (vectors[held] - middle) @ weights
    return np.round(found, 9)


def mean_area(found: Floats, sides: Flags, folds: NDArray[np.int64]) -> Floats:
    """Area under the curve of each column, inside each fold, weighted by the pairs that a fold holds."""
    total, pairs = np.zeros(sides.shape[1]), np.zeros(sides.shape[1])
    for fold in range(FOLDS):
        held = folds == fold
        new = sides[held].sum(axis=0)
        known = held.sum() - new
        ranks = rankdata(found[held], axis=0)
        total += (ranks * sides[held]).sum(axis=0) - new * (new + 1) / 2
        pairs += new * known
    return np.asarray(total / np.maximum(pairs, 1))


def deviation(found: Floats, new: Flags, folds: NDArray[np.int64]) -> float:
    """Standard deviation of `mean_area` (DeLong and others 1988, Biometrics 44:837-845; over folds LeDell 2015)."""
    variance, pairs = 0.0, 0
    for fold in range(FOLDS):
        held = folds == fold
        inside = int(new[held].sum()) * int((~new[held]).sum())
        variance += inside**2 * area_variance(found[held & new], found[held & ~new])
        pairs += inside
    return math.sqrt(variance) / max(pairs, 1)


def area_variance(new: Floats, known: Floats) -> float:
    """DeLong's variance of the area for two samples; 0 where one has fewer than two values."""
    if min(len(new), len(known)) < 2:
        return 0.0
    both = rankdata(np.concatenate([new, known]))
    of_new = (both[: len(new)] - rankdata(new)) / len(known)
    of_known = 1 - (both[len(new) :] - rankdata(known)) / len(new)
    return float(of_new.var(ddof=1) / len(new) + of_known.var(ddof=1) / len(known))
