"""An evaluation's tables made by hand: scores and losses without a model."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from evals.consistency import ITEM_SCHEMA, MORE_COLUMNS
from evals.evidence import Evidence
from evals.scoring import LOSS_SCHEMA
from schemas.config import ModelGateConfig
from schemas.results import EvalResults

OFF = {name: "off" for name in ("gain_gap", "heldout", "drift", "membership", "extraction", "validation_curve")}
"""No measurement of overfitting."""
FACTS: dict[str, Any] = {
    "trained_rows": {"rows": 100, "listed": True},
    "unverified": [],
    "held_out_rows_trained": {"rows": 0, "of": 150, "shown": []},
    "split_proof": {"pairs": 0, "threshold": 0.5, "imported": False},
    "validation_curve": None,
    "canaries": None,
    "artifact": {"whole": False, "quantization": None},
}
"""What an evaluation says of rows that were split and trained as they should be."""
IMPROVE = {"must": "improve", "detect": 0.15}
NOT_REGRESS = {"must": "not_regress", "margin": 0.05}


def scores_of(right: int, wrong: int) -> list[Any]:
    """So many items right, then so many wrong."""
    return [1.0] * right + [0.0] * wrong


def table(gained: int, lost: int, right: int, wrong: int) -> dict[str, Any]:
    """Scores of base and tuned with so many items of each kind."""
    base = [0.0] * gained + [1.0] * lost + [1.0] * right + [0.0] * wrong
    tuned = [1.0] * gained + [0.0] * lost + [1.0] * right + [0.0] * wrong
    return {"base": base, "tuned": tuned}


def made_evidence(
    scores: Mapping[str, Sequence[float | None]] | None = None,
    losses: Mapping[tuple[str, str], Sequence[float | None]] | None = None,
    *,
    task: Mapping[str, Any] = IMPROVE,
    clusters: Sequence[int] | None = None,
    higher_is_better: bool = True,
    overfitting: Mapping[str, Any] | None = None,
    facts: Mapping[str, Any] | None = None,
    slices: Sequence[str] | None = None,
    runs: int = 1,
    known: Mapping[str, Any] | None = None,
    tables: Mapping[str, Any] | None = None,
) -> Evidence:
    """Evidence on one task `t`.

    Args:
        scores: model -> a score an item, the same items for each; None where the model failed.
        losses: (model, split) -> a loss a row, in nats; every row has two supervised tokens.
        task: its condition.
        clusters: of the items; by default each is its own.
        higher_is_better: direction of the metric.
        overfitting: measurements to judge; by default none.
        facts: more about the task in the results.
        slices: of the items, by a field `kind`.
        known: about the rows, in place of what FACTS says.
        tables: tables of the evidence, by name.
        runs: the scores of a model are so many runs, one after the other.
    """
    lines = []
    for model, values in (scores or {}).items():
        count = len(values) // runs
        for place, score in enumerate(values):
            run, k = divmod(place, count)
            of = json.dumps({"kind": slices[k]}) if slices else "{}"
            cluster = clusters[k] if clusters else k
            lines.append(("t", model, f"item{k}", k, cluster, "x", "y", score, "{}", "0" * 64, run, 0, of))
    rows = [
        (model, split, f"{split}{k}", k, nll, 2)
        for (model, split), values in (losses or {}).items()
        for k, nll in enumerate(values)
    ]
    about = {"metric": "acc", "higher_is_better": higher_is_better, **(facts or {})}
    return Evidence(
        results=EvalResults(scores=(), models={}, tasks={"t": about}, overfitting={**FACTS, **(known or {})}),
        items=pl.DataFrame(
            lines, schema=ITEM_SCHEMA | {name: kind for name, (kind, _) in MORE_COLUMNS.items()}, orient="row"
        ),
        losses=pl.DataFrame(rows, schema=LOSS_SCHEMA, orient="row"),
        **(tables or {}),
        conditions=ModelGateConfig.model_validate(
            {"tasks": {"t": task}, "overfitting": OFF if overfitting is None else overfitting}
        ),
    )
