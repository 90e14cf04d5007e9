"""Two models on the same items: scores side by side, what a failure counts, and what follows for the difference."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy.typing as npt
import polars as pl

from evals.noise import Noise, run_noise, widened
from evals.paired import binary_p_worse, paired_binary, paired_continuous, sign_counts, sign_flip_p
from evals.stats import Floats, Interval, cluster_totals, design_effect, mcnemar_exact, newcombe

KEYS = ("item_id", "position", "cluster")


@dataclasses.dataclass(frozen=True)
class Comparison:
    """Two models on one task, item by item; positive differences favour the candidate."""

    interval: Interval
    """Of the mean difference. Items on which the baseline failed are right for it at the lower end and wrong for it at
    the upper end: they decide nothing either way."""
    binary: bool
    candidate_mean: float
    baseline_mean: float
    gained: int
    """Items that only the candidate got right (or on which it is better)."""
    lost: int
    candidate_failed: int
    baseline_failed: int
    p_value: float | None
    """Exact McNemar, for binary scores of independent items."""
    newcombe: tuple[float, float] | None
    """A second interval for binary scores of independent items, for comparison."""
    design_effect: float
    variance: float
    """Of the difference of one item."""
    p_worse: float
    """One-sided, that the candidate is not worse."""
    totals: Floats
    """(clusters,) sums of the differences."""
    sizes: Floats
    """(clusters,) items."""
    seed: int
    noises: tuple[Noise, ...] = ()
    """Of the models that were evaluated more than once."""

    def p_not_above(self, bar: float) -> float | None:
        """One-sided sign-flip p-value that the mean difference is not above a bar; none for binary scores."""
        if self.binary or not len(self.totals):
            return None
        return sign_flip_p(self.totals, self.sizes, bar, self.seed)

    def as_dict(self) -> dict[str, Any]:
        """What a check quotes."""
        found = self.interval.as_dict() | {
            "candidate": round(self.candidate_mean, 6),
            "baseline": round(self.baseline_mean, 6),
            "gained": self.gained,
            "lost": self.lost,
            "candidate_failed": self.candidate_failed,
            "baseline_failed": self.baseline_failed,
            "p_worse": float(f"{self.p_worse:.3g}"),
        }
        if self.p_value is not None:
            found["mcnemar_p"] = float(f"{self.p_value:.3g}")
        if self.newcombe is not None:
            found["newcombe"] = [round(end, 6) for end in self.newcombe]
        if self.noises:
            found["noise_variance"] = float(f"{sum(noise.variance for noise in self.noises):.3g}")
            found["runs"] = [noise.runs for noise in self.noises]
        return found


def compare_scores(
    candidate: pl.DataFrame,
    baseline: pl.DataFrame,
    *,
    higher: bool,
    alpha: float,
    seed: int,
    noise: Noise | None = None,
) -> Comparison:
    """Pair two models' scores by item and put an interval around the mean difference.

    An answer that the candidate failed on scores as the worst value. Repeated samples of an item are averaged inside
    the item before anything else, and so are runs, whose own noise is added at the end.

    Args:
        candidate: KEYS, `run`, `sample`, and `score`, null where the model failed; the same items as the baseline.
        baseline: likewise.
        higher: direction of the metric.
        alpha: 1 - level.
        seed: of resampling.
        noise: between runs of the baseline, where only the mean of its runs is here.
    """
    sign = 1.0 if higher else -1.0
    tables = [table.with_columns(pl.col("score") * sign) for table in (candidate, baseline)]
    everything = pl.concat([table["score"].drop_nulls() for table in tables])
    bounded = higher and bool(everything.is_between(0.0, 1.0).all())
    worst, best = (0.0, 1.0) if bounded or everything.is_empty() else _range(everything)
    ours, harsh = _by_item(tables[0], worst), _by_item(tables[1], best)
    pairs = ours.join(harsh.select("item_id", baseline="score"), on="item_id").sort("position")
    clusters, scores, theirs = (pairs[name].to_numpy() for name in ("cluster", "score", "baseline"))
    binary = bounded and bool(pl.concat([pairs["score"], pairs["baseline"]]).is_in([0.0, 1.0]).all())
    found = _comparison(scores, theirs, clusters, binary=binary, bounded=bounded, alpha=alpha, seed=seed)
    failed = [_failed_items(table) for table in tables]
    if failed[1]:
        mild = pairs.select("item_id").join(_by_item(tables[1], worst), on="item_id", maintain_order="left")
        kinder = _comparison(
            scores, mild["score"].to_numpy(), clusters, binary=binary, bounded=bounded, alpha=alpha, seed=seed
        )
        interval = dataclasses.replace(found.interval, high=kinder.interval.high)
        found = dataclasses.replace(found, interval=interval, p_worse=max(found.p_worse, kinder.p_worse))
    noises = [run_noise_of(tables[0], worst), noise or run_noise_of(tables[1], best)]
    known = tuple(noise for noise in noises if noise is not None)
    return dataclasses.replace(
        found,
        interval=widened(found.interval, known, alpha),
        candidate_failed=failed[0],
        baseline_failed=failed[1],
        noises=known,
    )


def _range(scores: pl.Series) -> tuple[float, float]:
    return float(scores.min() or 0.0), float(scores.max() or 0.0)  # type: ignore[arg-type]


def _failed_items(table: pl.DataFrame) -> int:
    return int(table.filter(pl.col("score").is_null())["item_id"].n_unique())


def _by_item(table: pl.DataFrame, failure: float) -> pl.DataFrame:
    """The mean score of each item, a failed answer counted as given."""
    filled = table.with_columns(pl.col("score").fill_null(failure))
    return filled.group_by(KEYS, maintain_order=True).agg(pl.col("score").mean())


def run_noise_of(table: pl.DataFrame, failure: float) -> Noise | None:
    """Between-run variance of a model, where it was run more than once on every item.

    Args:
        table: its answers, as in `compare_scores`.
        failure: what an answer without a score counts.
    """
    if table["run"].n_unique() < 2:
        return None
    filled = table.with_columns(pl.col("score").fill_null(failure))
    answers = filled.group_by("run", "item_id").agg(pl.col("score").mean()).sort("run", "item_id")
    return run_noise(answers["score"].to_numpy().reshape(table["run"].n_unique(), -1))


def _comparison(
    ours: Floats,
    theirs: Floats,
    clusters: npt.NDArray[Any],
    *,
    binary: bool,
    bounded: bool,
    alpha: float,
    seed: int,
) -> Comparison:
    difference = ours - theirs
    gained, lost, items = int((difference > 0).sum()), int((difference < 0).sum()), len(difference)
    interval = (
        paired_binary(ours, theirs, clusters, alpha)
        if binary
        else paired_continuous(difference, clusters, alpha, seed, bounded=bounded)
    )
    independent = binary and items > 0 and interval.clusters == items
    both, neither = int(((ours == 1) & (theirs == 1)).sum()), int(((ours == 0) & (theirs == 0)).sum())
    sizes, totals = cluster_totals(difference, clusters)
    return Comparison(
        interval=interval,
        binary=binary,
        candidate_mean=float(ours.mean()) if items else 0.0,
        baseline_mean=float(theirs.mean()) if items else 0.0,
        gained=gained,
        lost=lost,
        candidate_failed=0,
        baseline_failed=0,
        p_value=mcnemar_exact(gained, lost) if independent else None,
        newcombe=newcombe((both, gained, lost, neither), alpha) if independent else None,
        design_effect=design_effect(difference, clusters) if items else 1.0,
        variance=float(difference.var()) if items else 0.0,
        p_worse=_p_worse(difference, clusters, totals, sizes, binary=binary, seed=seed),
        totals=totals,
        sizes=sizes,
        seed=seed,
    )


def _p_worse(
    difference: Floats, clusters: npt.NDArray[Any], totals: Floats, sizes: Floats, *, binary: bool, seed: int
) -> float:
    if len(sizes) < 2:
        return 1.0
    if not binary:
        return sign_flip_p(-totals, sizes, 0.0, seed)
    gained, lost = sign_counts(difference, clusters)
    return float(binary_p_worse(gained, lost, sizes))
