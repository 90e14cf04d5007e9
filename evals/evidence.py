"""What a gate judges: an evaluation's files, read once, with each item's scores side by side.

Nothing here runs a model. Scores are read as they were written; an item that a model failed on has a null score there,
and what a failure means is decided in `evals/comparison.py`, once, for every gate condition.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from evals.comparison import KEYS, Comparison, compare_scores, run_noise_of
from evals.consistency import read_items_table, read_table, require_agreement
from evals.general_text import GENERAL_SCHEMA
from evals.multiplicity import holm
from evals.noise import Noise
from evals.row_facts import ROW_SCHEMA
from evals.scoring import LOSS_SCHEMA, TOKEN_SCHEMA
from schemas.config import ModelGateConfig
from schemas.errors import ManifestError
from schemas.lock import Lock
from schemas.results import EvalResults

LOCKED, ORIGINAL = "locked", "original"
"""Names under which the scores of a lock stand beside those of `base` and `tuned`."""
LOSSES, TOKENS, ROWS, GENERAL_TEXT = "losses.parquet", "tokens.parquet", "rows.parquet", "general.parquet"
SINCE: dict[str, Mapping[str, Any]] = {TOKENS: TOKEN_SCHEMA, ROWS: ROW_SCHEMA, GENERAL_TEXT: GENERAL_SCHEMA}
"""Tables that earlier evaluations do not have: what rests on them is then inconclusive."""


def _empty(name: str) -> Callable[[], pl.DataFrame]:
    return lambda: pl.DataFrame(schema=SINCE[name])


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
    tokens: pl.DataFrame = field(default_factory=_empty(TOKENS))
    """Columns of `evals.scoring.TOKEN_SCHEMA`; empty where the evaluation kept none."""
    rows: pl.DataFrame = field(default_factory=_empty(ROWS))
    """Columns of `evals.row_facts.ROW_SCHEMA`."""
    general: pl.DataFrame = field(default_factory=_empty(GENERAL_TEXT))
    """Columns of `evals.general_text.GENERAL_SCHEMA`."""
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

    def compare(
        self, task: str, baseline: str, candidate: str = "tuned", part: Collection[str] | None = None
    ) -> Comparison:
        """Pair two models' scores by item and put an interval around the mean difference (`compare_scores`).

        Args:
            task: its name.
            baseline: a model.
            candidate: another.
            part: names of items; null takes all.

        Raises:
            ManifestError: the two models were not scored on the same items.
        """
        ours, theirs = self._answers(task, candidate, part), self._answers(task, baseline, part)
        repeated = ["item_id", "run", "sample"]
        twice = any(table.select(repeated).is_duplicated().any() for table in (ours, theirs))
        uneven = any(
            (table.group_by("run").agg(pl.col("item_id").n_unique())["item_id"] != table["item_id"].n_unique()).any()
            for table in (ours, theirs)
        )
        if twice or uneven or set(ours["item_id"]) != set(theirs["item_id"]):
            raise ManifestError(
                f"{candidate} and {baseline} were not scored on the same items of {task}",
                where="items.parquet",
                found=f"{ours.height} and {theirs.height} items, {ours['item_id'].n_unique()} distinct",
                expected="each item once for each model, or once for each run and sample of it",
                help="run `assay evals` again",
            )
        higher, alpha = self.higher_is_better(task), self.conditions.alpha
        noise = self._locked_noise(task, baseline)
        return compare_scores(ours, theirs, higher=higher, alpha=alpha, seed=self.seed, noise=noise)

    def noise(self, task: str, model: str) -> Noise | None:
        """Between-run variance of a model's mean score, over the items that it never failed on; null for one run."""
        answers = self._answers(task, model, None)
        failed = answers.filter(pl.col("score").is_null())["item_id"]
        return run_noise_of(answers.filter(~pl.col("item_id").is_in(failed.implode())), 0.0)

    def _locked_noise(self, task: str, model: str) -> Noise | None:
        """That of a lock's model, whose runs are not here."""
        if self.baseline is None or task not in self.baseline.lock.tasks:
            return None
        locked = self.baseline.lock.tasks[task]
        known = {LOCKED: locked.noise, ORIGINAL: locked.original_noise}.get(model)
        return Noise(known.variance, known.runs) if known else None

    def worse(self, baseline: str) -> dict[str, float]:
        """Task -> p-value that the candidate is not worse than a model, by Holm over all tasks of the gate."""
        both = [task for task in self.conditions.tasks if self.has(task, "tuned") and self.has(task, baseline)]
        return holm({task: self.compare(task, baseline).p_worse for task in both})

    def slices(self, task: str) -> dict[str, list[str]]:
        """Slice, as `field=value` -> its items of a task, in order of names."""
        chosen = self.items.filter((pl.col("task") == task) & (pl.col("model") == "base"))
        found: dict[str, list[str]] = {}
        for item, given in chosen.select("item_id", "slices").unique().sort("item_id").iter_rows():
            for name, value in json.loads(given).items():
                found.setdefault(f"{name}={value}", []).append(item)
        return dict(sorted(found.items()))

    def _answers(self, task: str, model: str, part: Collection[str] | None) -> pl.DataFrame:
        chosen = self.items.filter((pl.col("task") == task) & (pl.col("model") == model))
        if part is not None:
            chosen = chosen.filter(pl.col("item_id").is_in(list(part)))
        finite = pl.when(pl.col("score").is_finite()).then(pl.col("score")).alias("score")
        return chosen.select(*KEYS, "run", "sample", finite)


def read_evidence(folder: Path, conditions: ModelGateConfig, seed: int) -> Evidence:
    """Read `results.json` and the tables of an evaluation.

    Raises:
        ManifestError: a file is missing, does not have its columns, or does not agree with the others.
    """
    try:
        results = EvalResults.model_validate(json.loads((folder / "results.json").read_bytes()))
    except (OSError, ValueError) as error:
        raise ManifestError(
            "the results cannot be read", where=str(folder / "results.json"), found=str(error)
        ) from error
    items = read_items_table(folder / "items.parquet")
    losses = read_table(folder / LOSSES, LOSS_SCHEMA)
    tokens, rows, general = (
        read_table(folder / name, schema)
        if (folder / name).exists() or name in results.tables
        else pl.DataFrame(schema=schema)
        for name, schema in SINCE.items()
    )
    require_agreement(folder, results, items, losses)
    return Evidence(
        results=results,
        items=items,
        losses=losses,
        conditions=conditions,
        seed=seed,
        tokens=tokens,
        rows=rows,
        general=general,
    )
