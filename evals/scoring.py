"""Supervised losses: what training minimised, measured in evaluation mode on rows it saw and rows it did not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import polars as pl

from curate.supervision import Supervised
from evals.packing import Query

if TYPE_CHECKING:
    from evals.answering import Scorer

LOSS_SCHEMA = {
    "model": pl.String,  # base or tuned
    "split": pl.String,  # train or test
    "row_id": pl.String,
    "cluster": pl.Int64,
    "nll": pl.Float64,  # nats, summed over the supervised tokens; null where the model failed
    "tokens": pl.Int64,  # supervised tokens
}


@dataclass(frozen=True)
class LossRow:
    """One row whose supervised loss is measured."""

    split: str
    row_id: str
    cluster: int
    supervised: Supervised

    @property
    def queries(self) -> list[Query]:
        """Each run of supervised tokens after all that precedes it; the runs of a row share one pass."""
        ids, counted = self.supervised.input_ids, self.supervised.supervised
        starts = [place for place, count in enumerate(counted) if count and (place == 0 or not counted[place - 1])]
        found = []
        for start in starts:
            stop = next((place for place in range(start, len(ids)) if not counted[place]), len(ids))
            found.append(Query(tuple(ids[:start]), tuple(ids[start:stop])))
        return found


def expect_losses(scorer: Scorer, rows: Iterable[LossRow]) -> None:
    """Let the losses of these rows share passes with whatever is scored next."""
    scorer.expect(query for row in rows for query in row.queries)


def score_losses(scorer: Scorer, model: str, rows: Sequence[LossRow]) -> pl.DataFrame:
    """The supervised loss of every row under the model as it is now, with the columns of LOSS_SCHEMA."""
    queries = [row.queries for row in rows]
    scores = iter(scorer.score([query for row in queries for query in row]))
    lines = []
    for row, asked in zip(rows, queries, strict=True):
        total = -sum(next(scores).log_likelihood for _ in asked)
        finite = total if abs(total) < float("inf") else None  # not a number compares as false
        lines.append((model, row.split, row.row_id, row.cluster, finite, row.supervised.supervised_tokens))
    return pl.DataFrame(lines, schema=LOSS_SCHEMA, orient="row")


def summarise_losses(losses: pl.DataFrame) -> dict[str, dict[str, dict[str, float | int]]]:
    """Model -> split -> rows, supervised tokens and nats per token, over the rows that have a loss."""
    known = losses.filter(pl.col("nll").is_not_null())
    grouped = known.group_by("model", "split").agg(pl.len(), pl.col("tokens").sum(), pl.col("nll").sum())
    found: dict[str, dict[str, dict[str, float | int]]] = {}
    for model, split, rows, tokens, nll in grouped.sort("model", "split").iter_rows():
        found.setdefault(model, {})[split] = {"rows": rows, "tokens": tokens, "nats_per_token": nll / max(tokens, 1)}
    return found
