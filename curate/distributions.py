"""How the sizes of rows are spread: counts in bins that suit numbers from one to a million."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from curate.rows import Corpus

EDGES = tuple(step * 10**power for power in range(9) for step in (1, 2, 5))
"""Lower ends of the bins, 1-2-5 a decade (the usual ruling of logarithmic paper); a bin of zeros goes before them."""


@dataclass(frozen=True)
class Distribution:
    """How many things there are of each size."""

    title: str
    bins: tuple[tuple[int, int], ...]
    """(least size in the bin, count), without gaps from the first bin that holds something to the last."""
    median: int


def distributions(corpus: Corpus) -> list[Distribution]:
    """Characters a row, turns a row and characters an answer; those of which there are none are left out."""
    main = (
        corpus.turns.lazy()
        .filter(pl.col("part") != "rejected")
        .select("index", "role", chars=pl.col("content").str.len_chars().fill_null(0))
        .collect()
    )
    rows = main.group_by("index").agg(turns=pl.len(), chars=pl.col("chars").sum())
    sizes = {
        "characters a row": rows["chars"],
        "turns a row": rows["turns"],
        "characters an answer": main.filter(pl.col("role") == "assistant")["chars"],
    }
    return [distribution(title, values) for title, values in sizes.items() if len(values)]


def distribution(title: str, sizes: pl.Series) -> Distribution:
    """The counts of whole numbers in bins.

    Args:
        title: what is counted.
        sizes: at least one number of 0 or more.
    """
    lower = pl.Series("lower", [0, *EDGES], dtype=pl.Int64)
    place = lower.search_sorted(sizes.cast(pl.Int64), side="right") - 1
    counts = dict(place.value_counts().iter_rows())
    bins = tuple((int(lower[n]), int(counts.get(n, 0))) for n in range(min(counts), max(counts) + 1))
    return Distribution(title, bins, int(sizes.quantile(0.5, "nearest") or 0))
