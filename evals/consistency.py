"""Whether the files of an evaluation agree with each other, before a verdict rests on them.

Digests show that a file is the one that its manifest names. They do not show that nobody took an item out of the table
and wrote the manifest again; the counts, means and losses that `results.json` states beside the tables do.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import polars as pl

from evals.scoring import summarise_losses
from schemas.base import file_digest
from schemas.errors import ManifestError
from schemas.results import EvalResults, TaskScore

ITEM_SCHEMA = {
    "task": pl.String,
    "model": pl.String,  # base, tuned, majority or bag_of_words
    "item_id": pl.String,
    "position": pl.Int64,  # in tasks/<task>.jsonl, from 0
    "cluster": pl.Int64,
    "target": pl.String,
    "prediction": pl.String,
    "score": pl.Float64,  # null where the model failed
    "detail": pl.String,
    "prompt_sha256": pl.String,
}
MORE_COLUMNS: dict[str, tuple[Any, Any]] = {
    "run": (pl.Int64, 0),  # of evaluating the same model several times
    "sample": (pl.Int64, 0),  # of several answers to one item in one run
    "slices": (pl.String, "{}"),  # JSON: field of the row's metadata -> value
}
"""Columns that items may have, with their kind and what holds without them."""
NEVER_NULL = ("task", "model", "item_id", "position", "cluster", "split", "row_id", "tokens", *MORE_COLUMNS)
"""Columns without which a score or a loss belongs to nothing."""
TOLERANCE = 1e-6
SHOWN = 5


def read_table(path: Path, schema: Mapping[str, Any]) -> pl.DataFrame:
    """A table of an evaluation.

    Raises:
        ManifestError: it is missing, no Parquet, or does not have these columns with these types.
    """
    try:
        table = pl.read_parquet(path)
    except (OSError, pl.exceptions.PolarsError) as error:
        raise ManifestError("the results cannot be read", where=str(path), found=str(error)) from error
    wrong = [
        f"{name} is {table.schema[name]}" if name in table.columns else f"no {name}"
        for name, kind in schema.items()
        if table.schema.get(name) != kind
    ]
    empty = [f"{name} is null" for name in NEVER_NULL if name in table.columns and table[name].null_count()]
    if wrong or empty:
        raise ManifestError(
            "the results do not have the columns that `assay evals` writes",
            where=str(path),
            found=", ".join([*wrong, *empty][:SHOWN]),
            help="run `assay evals` again",
        )
    return table


def read_items_table(path: Path) -> pl.DataFrame:
    """The scores of an evaluation, with the columns of ITEM_SCHEMA and MORE_COLUMNS.

    Raises: see `read_table`.
    """
    held = read_table(path, ITEM_SCHEMA)
    more = {name: kind for name, (kind, _) in MORE_COLUMNS.items() if name in held.columns}
    table = read_table(path, ITEM_SCHEMA | more)
    unread = [text for text in table["slices"].unique() if not _is_slices(text)] if "slices" in more else []
    if unread:
        raise ManifestError(
            "the slices of an item cannot be read",
            where=str(path),
            found=repr(sorted(unread)[0])[:200],
            expected='an object of texts as JSON, such as {"language": "en"}',
            help="run `assay evals` again",
        )
    absent = [pl.lit(value, kind).alias(name) for name, (kind, value) in MORE_COLUMNS.items() if name not in more]
    return table.with_columns(absent)


def _is_slices(text: str) -> bool:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and all(isinstance(value, str) for value in found.values())


def require_agreement(folder: Path, results: EvalResults, items: pl.DataFrame, losses: pl.DataFrame) -> None:
    """Compare the tables with what `results.json` says of them.

    Args:
        folder: of the evaluation, for the message.
        results: the summary.
        items: with the columns of ITEM_SCHEMA.
        losses: with the columns of LOSS_SCHEMA.

    Raises:
        ManifestError: they do not belong together; the message names the first differences.
    """
    differences = [
        *_item_differences(results, items),
        *_loss_differences(results, losses),
        *_table_differences(folder, results),
    ]
    if differences:
        more = f" and {len(differences) - SHOWN} more" if len(differences) > SHOWN else ""
        raise ManifestError(
            "the files of this evaluation do not agree with each other",
            where=str(folder),
            found="\n".join(differences[:SHOWN]) + more,
            expected="each item once for each model, and the means that results.json states",
            help="they were changed after `assay evals` wrote them: run it again",
        )


def _item_differences(results: EvalResults, items: pl.DataFrame) -> Iterator[str]:
    stated = {(score.task, score.model): score for score in results.scores}
    answers = {(str(key[0]), str(key[1])): table for key, table in items.group_by("task", "model")}
    for task, model in sorted(stated.keys() ^ answers.keys()):
        absent = "results.json" if (task, model) in answers else "items.parquet"
        yield f"{task}, {model}: not in {absent}"
    for task, model in sorted(stated.keys() & answers.keys()):
        found = _score_difference(stated[task, model], answers[task, model], results.tasks.get(task, {}))
        if found:
            yield f"{task}, {model}: {found}"
    for task, about in results.tasks.items():
        for model in ("base", "tuned"):
            if (task, model) not in stated:
                yield f"{task}, {model}: results.json has no score"
        places = items.filter(pl.col("task") == task).select("item_id", "position", "cluster").unique()
        if places.height != about.get("items"):
            yield f"{task}: {places.height} items in items.parquet, results.json says {about.get('items')}"


def _score_difference(stated: TaskScore, answers: pl.DataFrame, about: Mapping[str, Any]) -> str:
    """What is wrong with a model's answers to a task, in words; empty where nothing is."""
    if answers.select("item_id", "run", "sample").is_duplicated().any():
        return "an item is there more than once"
    count = answers["item_id"].n_unique()
    if not count == stated.items == about.get("items"):
        return f"{count} items in items.parquet, results.json says {stated.items} and {about.get('items')}"
    failed = answers.height - int(answers["score"].is_finite().sum())
    if failed != stated.failed:
        return f"{failed} items without a score, results.json says {stated.failed}"
    if (about.get("metric"), about.get("higher_is_better")) != (stated.metric, stated.higher_is_better):
        return "its score and its task have other metrics in results.json"
    mean = mean_score(answers["score"], higher=stated.higher_is_better)
    same = math.isclose(mean, stated.value, rel_tol=TOLERANCE, abs_tol=TOLERANCE)
    return "" if same else f"its items have the mean {mean:.6f}, results.json says {stated.value:.6f}"


def filled(scores: pl.Series, *, higher: bool) -> pl.Series:
    """Scores of one model with every failed item counted as wrong."""
    worst = 0.0 if higher else scores.max()
    return scores.fill_null(worst).fill_null(0.0)


def mean_score(scores: pl.Series, *, higher: bool) -> float:
    """The mean score of one model; not a number for no items."""
    return float(filled(scores, higher=higher).to_numpy().mean()) if len(scores) else math.nan


def _loss_differences(results: EvalResults, losses: pl.DataFrame) -> Iterator[str]:
    if losses.select("model", "split", "row_id").is_duplicated().any():
        yield "losses.parquet: a row is there more than once for a model"
    if (losses["nll"] < -TOLERANCE).any():
        yield "losses.parquet: a loss is negative"
    found = summarise_losses(losses.with_columns(pl.col("nll").fill_nan(None)))
    for model in sorted(found.keys() | results.losses.keys()):
        stated, counted = results.losses.get(model, {}), found.get(model, {})
        for split in sorted(stated.keys() | counted.keys()):
            if not _same_loss(stated.get(split), counted.get(split)):
                yield f"loss of {model} on {split}: {counted.get(split)}, results.json says {stated.get(split)}"


def _table_differences(folder: Path, results: EvalResults) -> Iterator[str]:
    for name, sha256 in results.tables.items():
        if file_digest(folder / name) != sha256:
            yield f"{name} is not the one that was written with results.json"


def _same_loss(stated: object, counted: Mapping[str, float | int] | None) -> bool:
    if not isinstance(stated, Mapping) or counted is None or stated.keys() != counted.keys():
        return False
    return all(
        isinstance(stated[name], int | float) and math.isclose(stated[name], value, rel_tol=TOLERANCE)
        for name, value in counted.items()
    )
