"""Items on which the candidate and a baseline part, both ways, with both answers."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from evals.documents import read_documents
from evals.evidence import LOCKED, Evidence
from evals.tasks import resolved_task
from schemas.lock import shortened


@dataclass(frozen=True)
class Flip:
    """One item that one of two models did better on; a failed answer is worse than any other."""

    item_id: str
    position: int
    """In `tasks/<task>.jsonl`, from 0."""
    asked: str
    target: str
    before: str | None
    """What the baseline said; null where only its score is known."""
    now: str
    """What the candidate said."""
    score_before: float | None
    score_now: float | None

    @property
    def failed(self) -> bool:
        """Whether the candidate gave no answer that could be scored."""
        return self.score_now is None


@dataclass(frozen=True)
class Flips:
    """All such items of one task, the largest differences first."""

    task: str
    baseline: str
    lost: tuple[Flip, ...]
    gained: tuple[Flip, ...]


def baseline_model(evidence: Evidence) -> str:
    """The model that the candidate is compared with: that of a lock that fits, else its base."""
    held = evidence.baseline
    return LOCKED if held is not None and not held.differences else "base"


def find_flips(evidence: Evidence, folder: Path, task: str) -> Flips:
    """Compare the candidate with its baseline, item by item.

    Args:
        evidence: of the candidate.
        folder: of the evals stage.
        task: its name.
    """
    baseline = baseline_model(evidence)
    sign = 1.0 if evidence.higher_is_better(task) else -1.0
    now, before = (_answers(evidence.items, task, model, sign) for model in ("tuned", baseline))
    pairs = now.join(before.select("item_id", "prediction", "score", "rank"), on="item_id", suffix="_before")
    pairs = pairs.filter(pl.col("rank") != pl.col("rank_before"))
    worst_first = pairs.sort((pl.col("rank") - pl.col("rank_before")).abs(), "position", descending=[True, False])
    asked = _questions(folder / "tasks", task)
    alike = shortened if baseline == LOCKED else str  # a lock holds the beginning of an answer
    found = [
        (
            row["rank"] > row["rank_before"],
            Flip(
                item_id=row["item_id"],
                position=row["position"],
                asked=asked.get(row["position"], ""),
                target=row["target"],
                before=row["prediction_before"],
                now=alike(row["prediction"] or ""),
                score_before=row["score_before"],
                score_now=row["score"],
            ),
        )
        for row in worst_first.iter_rows(named=True)
    ]
    lost, gained = (tuple(flip for better, flip in found if better is side) for side in (False, True))
    return Flips(task, baseline, lost, gained)


def _answers(items: pl.DataFrame, task: str, model: str, sign: float) -> pl.DataFrame:
    """A model's first answer to each item; `rank` orders scores, a failure being below everything."""
    chosen = items.filter((pl.col("task") == task) & (pl.col("model") == model)).unique(
        "item_id", keep="first", maintain_order=True
    )
    finite = pl.when(pl.col("score").is_finite()).then(pl.col("score"))
    return chosen.with_columns(score=finite, rank=(finite * sign).fill_null(-1e300))


def _questions(folder: Path, task: str) -> dict[int, str]:
    """Position -> what is asked: the field that is the prompt, or where the prompt has several, the whole item."""
    field = resolved_task(folder, task).config.get("doc_to_text")
    documents = enumerate(read_documents(folder / f"{task}.jsonl"))
    return {position: _question(document, field) for position, document in documents}


def _question(document: dict[str, Any], field: object) -> str:
    found = document.get(field) if isinstance(field, str) else None
    return found if isinstance(found, str) else json.dumps(document, ensure_ascii=False)
