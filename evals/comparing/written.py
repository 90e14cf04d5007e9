"""What a comparison wrote into its folder, read and checked: arms, answers, paraphrases, timed answers."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from evals.comparing.tables import FILES
from schemas.errors import UserError

ARMS, SCHEMA = "arms.json", "assay/compare-arms/1"
ITEM = ("cluster", "fresh")
"""Columns of an item; the others are of an answer to it."""
NOTHING = "no right answer at all"
"""The floor where the run names none."""


@dataclass(frozen=True)
class Written:
    """The files of a comparison."""

    about: Mapping[str, Any]
    """arms.json."""
    answers: pl.DataFrame
    """A row for each arm that was asked and each item; what an arm that failed never answered has no score."""
    agreement: pl.DataFrame
    latency: pl.DataFrame

    @property
    def asked(self) -> list[Mapping[str, Any]]:
        """Arms that were asked, in order."""
        return [arm for arm in self.about["arms"] if arm["status"] != "not_applicable"]

    def of(self, arm: str) -> pl.DataFrame:
        """Answers of an arm, the items in one order for all."""
        return self.answers.filter(pl.col("arm") == arm)

    @property
    def floor(self) -> tuple[str, pl.DataFrame]:
        """What an arm must beat, and its score on each item: what the run names, else a score of 0."""
        first = self.answers.unique("item_id", maintain_order=True)
        named = self.about.get("floor")
        if not named:
            return NOTHING, first.with_columns(score=pl.lit(0.0))
        scores = [float(named["scores"][item]) for item in first["item_id"]]
        return str(named["title"]), first.with_columns(score=pl.Series(scores, dtype=pl.Float64))


def read_written(folder: Path) -> Written:
    """The files of a comparison.

    Raises:
        UserError: a file cannot be read or does not say what it should; arms that ran did not answer the same items.
    """
    path = folder / ARMS
    try:
        about = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError("the arms of a comparison cannot be read", where=str(path), found=str(error)) from error
    if not isinstance(about, dict) or about.get("schema") != SCHEMA:
        raise UserError("this does not list the arms of a comparison", where=str(path), expected=f"schema {SCHEMA}")
    answers, agreement, latency = (_table(folder / name, tuple(columns)) for name, columns in FILES.items())
    found = Written(about, _aligned(answers, about, folder), agreement, latency)
    _check_floor(found, path)
    return found


def _table(path: Path, columns: tuple[str, ...]) -> pl.DataFrame:
    try:
        table = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise UserError("a table of a comparison cannot be read", where=str(path), found=str(error)[:300]) from error
    missing = sorted(set(columns) - set(table.columns))
    if missing:
        expected = f"columns {', '.join(columns)}"
        found = f"no {', '.join(missing)}"
        raise UserError("a table of a comparison lacks columns", where=str(path), found=found, expected=expected)
    return table


def _aligned(answers: pl.DataFrame, about: Mapping[str, Any], path: Path) -> pl.DataFrame:
    """Every arm that was asked beside the same items, in the order of their ids."""
    items = answers.select("item_id", *ITEM).unique("item_id", keep="first").sort("item_id")
    parts = []
    for arm in about["arms"]:
        if arm["status"] == "not_applicable":
            continue
        own = answers.filter(pl.col("arm") == arm["name"]).drop(ITEM)
        short = arm["status"] == "ran" and own.height < items.height
        if short or own["item_id"].n_unique() != own.height:
            raise UserError(
                "the arms of a comparison did not answer the same items",
                where=str(path),
                found=f"{own.height:,} answers of {arm['name']!r} to {items.height:,} items",
                expected="one answer of each arm that ran to each item",
            )
        whole = items.join(own, on="item_id", how="left", maintain_order="left")
        parts.append(whole.with_columns(arm=pl.lit(arm["name"]), position=pl.int_range(pl.len())))
    return pl.concat(parts) if parts else answers.clear().with_columns(position=pl.int_range(pl.len()))


def _check_floor(found: Written, path: Path) -> None:
    named = found.about.get("floor")
    missing = (
        [item for item in found.answers["item_id"].unique().sort() if item not in named["scores"]] if named else []
    )
    if missing:
        raise UserError(
            "the floor of a comparison lacks items",
            where=str(path),
            found=f"no score of {len(missing):,} items, {missing[0]!r} among them",
            expected="a score for each item",
        )
