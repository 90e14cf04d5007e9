"""What the arms of a comparison said, as tables."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

Schema = Mapping[str, type[pl.DataType] | pl.DataType]
ANSWERS: Schema = {
    "arm": pl.String,
    "item_id": pl.String,
    "cluster": pl.Int64,
    "answer": pl.String,
    "score": pl.Float64,
    "formatted": pl.Boolean,
    "fresh": pl.Boolean,
    "tokens_in": pl.Int64,
    "tokens_out": pl.Int64,
    "grounded": pl.Float64,
    "cut": pl.Boolean,
    "slices": pl.List(pl.String),
}
"""One row for each arm and item; `score` is null where there is no answer, `formatted` where no form is agreed on,
`grounded` where nothing was retrieved."""
AGREEMENT: Schema = {
    "arm": pl.String,
    "item_id": pl.String,
    "variant": pl.String,
    "answer": pl.String,
    "same": pl.Boolean,
}
"""One row for each arm and each other way of asking; `same` is null where one of both answers is missing."""
LATENCY: Schema = {
    "arm": pl.String,
    "item_id": pl.String,
    "seconds": pl.Float64,
    "tokens_in": pl.Int64,
    "tokens_out": pl.Int64,
}
"""One row for each arm and item that was timed."""
FILES = {"answers.parquet": ANSWERS, "agreement.parquet": AGREEMENT, "latency.parquet": LATENCY}
"""Name of a file -> its columns."""


@dataclass
class Lines:
    """Rows of the three tables, of one arm."""

    answers: list[tuple[Any, ...]] = field(default_factory=list)
    agreement: list[tuple[Any, ...]] = field(default_factory=list)
    latency: list[tuple[Any, ...]] = field(default_factory=list)


def write_tables(folder: Path, arms: Iterable[Lines]) -> None:
    """Write the three files.

    Args:
        folder: where.
        arms: in the order in which they are shown.
    """
    every = list(arms)
    for (name, schema), part in zip(FILES.items(), ("answers", "agreement", "latency"), strict=True):
        rows = [row for one in every for row in getattr(one, part)]
        pl.DataFrame(rows, schema=schema, orient="row").write_parquet(folder / name)
