"""What an evaluation wrote down: one summary per model and task, one row per item."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from schemas.base import Strict


class TaskScore(Strict):
    """The score of one model on one task, summarised from its items."""

    task: str
    model: str
    """`base` or `tuned`, or the name of a reference such as `majority` or `bag_of_words`."""
    metric: str
    value: float
    """Mean of the per-item scores."""
    higher_is_better: bool
    items: int
    """Items scored."""
    failed: int = 0
    """Items on which the model gave no usable score; they count as wrong, never vanish."""
    low: float | None = None
    """Lower end of the interval of `value` at the level of the gate (two-sided, 1 - alpha)."""
    high: float | None = None


class EvalResults(Strict):
    """`results.json` of an evals run; `items.parquet` beside it holds one row per (task, model, item)."""

    schema_: Literal["assay/results/1"] = Field(default="assay/results/1", alias="schema")
    scores: tuple[TaskScore, ...]
    models: dict[str, dict[str, Any]]
    """Model name -> digests of its weights and adapter, and what answered: engine, versions, dtype, device."""
    tasks: dict[str, dict[str, Any]]
    """Task name -> file, sha256, metric, split and item count."""
    losses: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Supervised loss in nats per token on the fixed samples, model -> split -> summary."""
    no_losses: str = ""
    """Why there are no supervised losses; empty where there are."""
    tables: dict[str, str] = Field(default_factory=dict)
    """Tables of tokens, rows and neutral text beside this file -> sha256; evaluations of earlier versions have none."""
    overfitting: dict[str, Any] = Field(default_factory=dict)
    """What the overfitting measurements know without a model: rows that were trained, copies of held-out rows among
    them, the split proof, the validation curve, canaries, the text that drift is measured on."""

    model_config = Strict.model_config | {"populate_by_name": True, "serialize_by_alias": True}
