"""What is measured of one arm beside its quality: form, fresh items, agreement, latency, tokens, grounding."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from evals.stats import Floats, Interval, clustered_mean, proportion
from schemas.compare import Latency, Measured

MIDDLE, TAIL = 0.5, 0.95


def measured(interval: Interval) -> Measured:
    """An interval as it is written down."""
    return Measured.model_validate(interval.as_dict())


def mean_of(values: Floats, clusters: npt.NDArray[Any], alpha: float) -> Measured:
    """Mean of values in [0, 1], clustered: Wilson's interval of zeros and ones, else Student's t, cut at the bounds."""
    if np.isin(values, (0.0, 1.0)).all():
        return measured(proportion(values, clusters, alpha))
    found = measured(clustered_mean(values, clusters, alpha))
    if found.low is None or found.high is None:
        return found
    return found.model_copy(update={"low": max(found.low, 0.0), "high": min(found.high, 1.0)})


def quality(answers: pl.DataFrame, alpha: float) -> Measured | None:
    """Mean score of an arm, answers that failed as 0; null without items.

    Args:
        answers: of one arm: `score`, `cluster`.
        alpha: 1 - level.
    """
    if answers.is_empty():
        return None
    return mean_of(answers["score"].fill_null(0.0).to_numpy(), answers["cluster"].to_numpy(), alpha)


def form_adherence(answers: pl.DataFrame, alpha: float) -> Measured | None:
    """Share of answers in the form that was asked for; null where none was."""
    asked = answers.filter(pl.col("formatted").is_not_null())
    if asked.is_empty():
        return None
    return mean_of(asked["formatted"].cast(pl.Float64).to_numpy(), asked["cluster"].to_numpy(), alpha)


def fresh_apart(answers: pl.DataFrame, alpha: float) -> tuple[Measured | None, Measured | None]:
    """Quality on fresh items and on the others; both null where no item is fresh."""
    if not answers["fresh"].any():
        return None, None
    return quality(answers.filter("fresh"), alpha), quality(answers.filter(~pl.col("fresh")), alpha)


def agreement(same: pl.DataFrame, answers: pl.DataFrame, alpha: float) -> Measured | None:
    """Share of paraphrases that got the answer of the plain question, paraphrases of one question as one cluster.

    Args:
        same: of one arm: `item_id`, `same`, null where one of both answers is missing.
        answers: of the same arm, with the cluster of each item.
        alpha: 1 - level.
    """
    known = same.drop_nulls("same").join(answers.select("item_id", "cluster"), on="item_id")
    if known.is_empty():
        return None
    return mean_of(known["same"].cast(pl.Float64).to_numpy(), known["cluster"].to_numpy(), alpha)


def latency(timed: pl.DataFrame) -> Latency | None:
    """Mean, median and 95th percentile of the timed answers of one arm, in seconds; null where none was timed."""
    if timed.is_empty():
        return None
    seconds = timed["seconds"].to_numpy()
    p50, p95 = np.quantile(seconds, [MIDDLE, TAIL])
    return Latency(timed=len(seconds), mean=float(seconds.mean()), p50=float(p50), p95=float(p95))


def mean(answers: pl.DataFrame, column: str) -> float | None:
    """Mean of what was counted; null where nothing was."""
    found = answers[column].mean()
    return float(found) if isinstance(found, int | float) else None


def grounding(answers: pl.DataFrame) -> tuple[float | None, int]:
    """Mean groundedness and how many answers have one."""
    return mean(answers, "grounded"), answers.height - answers["grounded"].null_count()
