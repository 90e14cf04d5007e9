"""Scores that tell trained rows from others: the higher, the more a row looks like a trained one."""

from __future__ import annotations

import math

import numpy as np
import polars as pl

from evals.ranks import Sample
from evals.scoring import ORIGINAL
from evals.stats import Floats

MIN_K = 0.2
"""Share of a row's tokens that Min-K%++ takes: those with the least score."""
SCORES = {"loss": "loss", "min_k": "Min-K%++"}
"""Name -> as people know it."""


def membership_samples(tokens: pl.DataFrame, model: str, score: str) -> tuple[Sample, Sample]:
    """The scores of trained and of test rows under a model; rows that it failed on are left out.

    Args:
        tokens: with the columns of `evals.scoring.TOKEN_SCHEMA`.
        model: base or tuned.
        score: `loss`, the mean log-probability of a token, or `min_k`, the mean of the least z among its tokens.
    """
    rows = tokens.filter(
        (pl.col("model") == model)
        & (pl.col("variant") == ORIGINAL)
        & (pl.col("tokens") > 0)
        & pl.col("nll").is_finite().fill_null(False)
    ).sort("row_id")
    trained, held_out = (_sample(rows.filter(pl.col("split") == split), score) for split in ("train", "test"))
    return trained, held_out


def _sample(rows: pl.DataFrame, score: str) -> Sample:
    if score == "loss":
        found: Floats = (-rows["nll"] / rows["tokens"]).to_numpy().astype(np.float64)
    else:
        found = np.array([min_k(np.array(z)) for z in rows["z"].to_list()], dtype=np.float64)
    return Sample(found, rows["cluster"].to_numpy(), tuple(rows["row_id"]))


def min_k(z: Floats) -> float:
    """Mean of the lowest `MIN_K` of token scores, at least of one (Zhang et al. 2024, arXiv 2404.02936)."""
    return float(np.sort(z)[: max(1, math.floor(MIN_K * len(z)))].mean())
