"""What a gate judges: an evaluation's files, read once, with each item's scores side by side.

Nothing here runs a model. Scores are read as they were written; an item that a model failed on has a null score there,
and what a failure means for a comparison is decided here, once, for every gate condition.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from evals.bootstrap import bootstrap_mean
from evals.consistency import ITEM_SCHEMA, read_table, require_agreement
from evals.scoring import LOSS_SCHEMA
from evals.stats import Floats, Interval, design_effect, mcnemar_exact, newcombe, no_interval, paired_binary
from schemas.config import ModelGateConfig
from schemas.errors import ManifestError
from schemas.lock import Lock
from schemas.results import EvalResults


@dataclass(frozen=True)
class Comparison:
    """Two models on one task, item by item; positive differences favour the candidate."""

    interval: Interval
    """Of the mean difference; items on which the baseline failed are counted as right for it."""
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

    def as_dict(self) -> dict[str, Any]:
        """What a check quotes."""
        found = self.interval.as_dict() | {
            "candidate": round(self.candidate_mean, 6),
            "baseline": round(self.baseline_mean, 6),
            "gained": self.gained,
            "lost": self.lost,
            "candidate_failed": self.candidate_failed,
            "baseline_failed": self.baseline_failed,
        }
        if self.p_value is not None:
            found["mcnemar_p"] = float(f"{self.p_value:.3g}")
        if self.newcombe is not None:
            found["newcombe"] = [round(end, 6) for end in self.newcombe]
        return found


@dataclass(frozen=True)
class Baseline:
    """A lock, and how it fits the evaluation. Where it does, `Evidence.items` holds the scores of its models."""

    lock: Lock
    differences: tuple[str, ...]
    """Fields that do not fit, with both values; then nothing can be compared."""
    notes: tuple[str, ...]
    """Differences that do not matter, such as a patch release."""
    same: frozenset[tuple[str, str]]
    """Task and model of the lock that the candidate is itself, byte for byte and score for score."""


@dataclass(frozen=True)
class Evidence:
    """One evaluation and the conditions it is judged by."""

    results: EvalResults
    items: pl.DataFrame
    losses: pl.DataFrame
    conditions: ModelGateConfig
    seed: int = 0
    baseline: Baseline | None = None
    """The lock that the candidate is held to; null compares with the base model alone."""

    def higher_is_better(self, task: str) -> bool:
        """Direction of a task's metric."""
        return bool(self.results.tasks[task].get("higher_is_better", True))

    def metric(self, task: str) -> str:
        """Name of a task's metric."""
        return str(self.results.tasks[task].get("metric", "score"))

    def has(self, task: str, model: str) -> bool:
        """Whether a model was scored on a task."""
        return not self.items.filter((pl.col("task") == task) & (pl.col("model") == model)).is_empty()

    def compare(self, task: str, baseline: str, candidate: str = "tuned") -> Comparison:
        """Pair two models' scores by item and put an interval around the mean difference.

        An item that the candidate failed on scores as the worst value. One that the baseline failed on scores as the
        best value for the baseline, so that a failing baseline never makes the candidate look better.

        Raises:
            ManifestError: the two models were not scored on the same items.
        """
        pairs = self._pairs(task, baseline, candidate)
        sign = 1.0 if self.higher_is_better(task) else -1.0
        known = [pairs[name].drop_nulls() * sign for name in ("candidate", "baseline")]
        everything = pl.concat(known)
        bounded = bool(everything.is_between(0.0, 1.0).all()) and sign > 0
        worst, best = (0.0, 1.0) if bounded or everything.is_empty() else _range(everything)
        ours = (pairs["candidate"] * sign).fill_null(worst).to_numpy()
        theirs = (pairs["baseline"] * sign).fill_null(best).to_numpy()
        clusters = pairs["cluster"].to_numpy()
        binary = bounded and bool(everything.is_in([0.0, 1.0]).all())
        return _comparison(
            ours,
            theirs,
            clusters,
            binary=binary,
            alpha=self.conditions.alpha,
            seed=self.seed,
            failed=(pairs["candidate"].null_count(), pairs["baseline"].null_count()),
        )

    def _pairs(self, task: str, baseline: str, candidate: str) -> pl.DataFrame:
        def scores(model: str, name: str) -> pl.DataFrame:
            chosen = self.items.filter((pl.col("task") == task) & (pl.col("model") == model))
            finite = pl.when(pl.col("score").is_finite()).then(pl.col("score")).alias(name)
            return chosen.select("item_id", "position", "cluster", finite)

        ours, theirs = scores(candidate, "candidate"), scores(baseline, "baseline")
        if ours["item_id"].is_duplicated().any() or sorted(ours["item_id"]) != sorted(theirs["item_id"]):
            raise ManifestError(
                f"{candidate} and {baseline} were not scored on the same items of {task}",
                where="items.parquet",
                found=f"{ours.height} and {theirs.height} items, {ours['item_id'].n_unique()} distinct",
                expected="each item once for each model",
                help="run `assay evals` again",
            )
        return ours.join(theirs.select("item_id", "baseline"), on="item_id").sort("position")


def _range(scores: pl.Series) -> tuple[float, float]:
    return float(scores.min() or 0.0), float(scores.max() or 0.0)  # type: ignore[arg-type]


def _comparison(
    ours: Floats,
    theirs: Floats,
    clusters: npt.NDArray[Any],
    *,
    binary: bool,
    alpha: float,
    seed: int,
    failed: tuple[int, int],
) -> Comparison:
    difference = ours - theirs
    gained, lost, items = int((difference > 0).sum()), int((difference < 0).sum()), len(difference)
    interval = _interval(ours, theirs, clusters, binary=binary, alpha=alpha, seed=seed)
    independent = binary and items > 0 and interval.clusters == items
    both, neither = int(((ours == 1) & (theirs == 1)).sum()), int(((ours == 0) & (theirs == 0)).sum())
    return Comparison(
        interval=interval,
        binary=binary,
        candidate_mean=float(ours.mean()) if items else 0.0,
        baseline_mean=float(theirs.mean()) if items else 0.0,
        gained=gained,
        lost=lost,
        candidate_failed=failed[0],
        baseline_failed=failed[1],
        p_value=mcnemar_exact(gained, lost) if independent else None,
        newcombe=newcombe((both, gained, lost, neither), alpha) if independent else None,
        design_effect=design_effect(difference, clusters) if items else 1.0,
    )


def _interval(
    ours: Floats, theirs: Floats, clusters: npt.NDArray[Any], *, binary: bool, alpha: float, seed: int
) -> Interval:
    if binary:
        return paired_binary(ours, theirs, clusters, alpha)
    difference = ours - theirs
    found = bootstrap_mean(difference, clusters, alpha, seed)
    if len(difference) and np.ptp(difference) == 0:
        # Twenty ties say little about the twenty-first item; no spread can be estimated from them.
        return no_interval(found.method, found.items, found.clusters, found.estimate)
    return found


def read_evidence(folder: Path, conditions: ModelGateConfig, seed: int) -> Evidence:
    """Read `results.json`, `items.parquet` and `losses.parquet` of an evaluation.

    Raises:
        ManifestError: a file is missing, does not have its columns, or does not agree with the others.
    """
    try:
        results = EvalResults.model_validate(json.loads((folder / "results.json").read_bytes()))
    except (OSError, ValueError) as error:
        raise ManifestError(
            "the results cannot be read", where=str(folder / "results.json"), found=str(error)
        ) from error
    items = read_table(folder / "items.parquet", ITEM_SCHEMA)
    losses = read_table(folder / "losses.parquet", LOSS_SCHEMA)
    require_agreement(folder, results, items, losses)
    return Evidence(
        results=results,
        items=items,
        losses=losses,
        conditions=conditions,
        seed=seed,
    )
