"""How much a score moves when the same model is evaluated again: batch size, kernels, dtype, sampling.

Items that flip independently of each other are in the standard error over items already. What is not, because every
item of one run shares it, is the effect of the run: that alone is estimated here, and added once to a difference.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from curate.score_test import student_quantile
from evals.stats import Floats, Interval


@dataclasses.dataclass(frozen=True)
class Noise:
    """Between-run variance of a model's mean score."""

    variance: float
    """Of the mean over the runs that were made."""
    runs: int

    @property
    def degrees(self) -> int:
        """Degrees of freedom of the estimate."""
        return self.runs - 1


def run_noise(scores: Floats) -> Noise:
    """The between-run component of a two-way layout of runs and items, by the analysis of variance.

    Expected mean squares are those of the random model (Searle, Casella and McCulloch 1992, Variance Components,
    chapter 4): (MS of runs - MS of the rest) / items, at least 0; the mean over R runs has that over R.

    Args:
        scores: (runs, items) of one model, at least two runs.
    """
    runs, items = scores.shape
    of_run = scores.mean(axis=1, keepdims=True) - scores.mean()
    rest = scores - scores.mean(axis=0) - of_run
    between = items * float((of_run**2).sum()) / (runs - 1)
    within = float((rest**2).sum()) / ((runs - 1) * max(items - 1, 1))
    return Noise(max(0.0, (between - within) / items) / runs, runs)


def widened(interval: Interval, noises: Sequence[Noise], alpha: float) -> Interval:
    """An interval of a difference with the run effects of both models added to it, once.

    Reaches add in squares, each with its own quantile (Zou and Donner 2008, Statistics in Medicine 27:1693-1702); of
    runs that were not repeated nothing is known and nothing is added.

    Args:
        interval: of the mean difference over items.
        noises: of the models whose runs were repeated.
        alpha: 1 - level.
    """
    added = sum(float(student_quantile(1 - alpha / 2, n.degrees)) ** 2 * n.variance for n in noises)
    if added == 0 or not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return interval
    low = interval.estimate - math.hypot(interval.estimate - interval.low, math.sqrt(added))
    high = interval.estimate + math.hypot(interval.high - interval.estimate, math.sqrt(added))
    return dataclasses.replace(interval, low=low, high=high, method=f"{interval.method}, with the noise between runs")
