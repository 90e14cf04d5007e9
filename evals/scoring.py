"""Supervised losses: what training minimised, measured in evaluation mode on rows it saw and rows it did not.

One pass of a row through a model gives everything that a measurement reads: its loss, the score of each token, and
whether each token is the one that greedy decoding would take.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

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
TOKEN_SCHEMA: dict[str, Any] = LOSS_SCHEMA | {
    "variant": pl.String,  # original, or what was changed in the row's text
    "runs": pl.List(pl.Int64),  # supervised tokens of each turn; the lists below hold one turn after the other
    "ids": pl.List(pl.Int64),
    "log_p": pl.List(pl.Float64),  # see evals.token_scores.Token; empty where the model failed
    "z": pl.List(pl.Float64),
    "greedy": pl.List(pl.Boolean),
}
"""`split` is train or test, or canary_<dose>."""
ORIGINAL = "original"
SPLITS = ("train", "test")


@dataclass(frozen=True)
class LossRow:
    """One row whose supervised loss is measured."""

    split: str
    row_id: str
    cluster: int
    supervised: Supervised
    variant: str = ORIGINAL

    @property
    def queries(self) -> list[Query]:
        """Each run of supervised tokens after all that precedes it; the runs of a row share one pass."""
        ids, counted = self.supervised.input_ids, self.supervised.supervised
        starts = [place for place, count in enumerate(counted) if count and (place == 0 or not counted[place - 1])]
        found = []
        for start in starts:
            stop = next((place for place in range(start, len(ids)) if not counted[place]), len(ids))
            found.append(Query(tuple(ids[:start]), tuple(ids[start:stop]), each=True))
        return found


def expect_losses(scorer: Scorer, rows: Iterable[LossRow]) -> None:
    """Let the losses of these rows share passes with whatever is scored next."""
    scorer.expect(query for row in rows for query in row.queries)


def score_losses(scorer: Scorer, model: str, rows: Sequence[LossRow]) -> pl.DataFrame:
    """The supervised tokens of every row under the model as it is now, with the columns of TOKEN_SCHEMA."""
    asked = [row.queries for row in rows]
    scores = iter(scorer.score([query for queries in asked for query in queries]))
    lines = []
    for row, queries in zip(rows, asked, strict=True):
        found = [next(scores) for _ in queries]
        total = -sum(one.log_likelihood for one in found)
        finite = total if abs(total) < float("inf") else None  # not a number compares as false
        tokens = [token for one in found for token in one.each] if finite is not None else []
        lines.append(
            (
                *(model, row.split, row.row_id, row.cluster, finite, row.supervised.supervised_tokens, row.variant),
                [len(query.continuation) for query in queries],
                [token for query in queries for token in query.continuation],
                [token.log_p for token in tokens],
                [token.z for token in tokens],
                [token.is_greedy for token in tokens],
            )
        )
    return pl.DataFrame(lines, schema=TOKEN_SCHEMA, orient="row")


def losses_of(tokens: pl.DataFrame) -> pl.DataFrame:
    """The losses of trained and of test rows as they are, with the columns of LOSS_SCHEMA."""
    plain = (pl.col("variant") == ORIGINAL) & pl.col("split").is_in(SPLITS)
    return tokens.filter(plain).select(*LOSS_SCHEMA)


def has_details(tokens: pl.DataFrame) -> bool:
    """Whether every row that has a loss has the scores of its single tokens; some backends give sums alone."""
    scored = tokens.filter(pl.col("nll").is_not_null())
    lengths = scored.select("tokens", *(pl.col(name).list.len() for name in ("ids", "z", "greedy")))
    return all((lengths[name] == lengths["tokens"]).all() for name in ("ids", "z", "greedy"))


def summarise_losses(losses: pl.DataFrame) -> dict[str, dict[str, dict[str, float | int]]]:
    """Model -> split -> rows, supervised tokens and nats per token, over the rows that have a loss."""
    known = losses.filter(pl.col("nll").is_not_null())
    grouped = known.group_by("model", "split").agg(pl.len(), pl.col("tokens").sum(), pl.col("nll").sum())
    found: dict[str, dict[str, dict[str, float | int]]] = {}
    for model, split, rows, tokens, nll in grouped.sort("model", "split").iter_rows():
        found.setdefault(model, {})[split] = {"rows": rows, "tokens": tokens, "nats_per_token": nll / max(tokens, 1)}
    return found
