"""A task's answers as a table: one line for each model, item and sample, and what they come to."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from evals import references
from evals.consistency import ITEM_SCHEMA, filled
from evals.dataset_items import AskedRow
from evals.slicing import slices_of
from evals.stats import Interval, clustered_mean, proportion
from evals.tasks import Items, Task
from schemas.errors import UserError
from schemas.results import TaskScore

if TYPE_CHECKING:
    from evals.harness import TaskRun

RUN_SCHEMA = {"metric": pl.String, "higher_is_better": pl.Boolean, "output_type": pl.String}
"""What a table says about its task, beside its items."""


def answer_table(task: Task, items: Items, model: str, run: TaskRun, slice_by: Sequence[str]) -> pl.DataFrame:
    """A model's answers to a task, with the columns of ITEM_SCHEMA, `sample`, `slices`, and those of RUN_SCHEMA.

    Raises:
        UserError: the task asked other items than it has.
    """
    asked = {item.position for item in run.items}
    if asked != set(range(len(items.ids))):
        raise UserError(
            "the task asked another number of items than there are",
            where=str(task.path),
            found=f"{len(asked)} items",
            expected=f"{len(items.ids)}, each in its place",
            help="`process_docs` may change items, but not drop or add any; change the file of items instead",
        )
    lines = [
        (
            task.name,
            model,
            items.ids[item.position],
            item.position,
            items.clusters[item.position],
            item.target,
            item.prediction,
            item.score,
            item.detail,
            item.prompt_sha256,
            item.sample,
            slices_of(items.documents[item.position], slice_by),
            run.metric,
            run.higher_is_better,
            run.output_type,
        )
        for item in run.items
    ]
    more = {"sample": pl.Int64, "slices": pl.String, **RUN_SCHEMA}
    return pl.DataFrame(lines, schema={**ITEM_SCHEMA, **more}, orient="row")


def why_no_references(rows: Sequence[AskedRow], answers: pl.DataFrame, trained: Sequence[AskedRow]) -> str:
    """Why there are no references for a task; empty where there are."""
    if not rows:
        return "its items are not rows of the dataset, so no label of theirs was trained"
    if answers["metric"][0] not in ("acc", "exact_match"):
        return f"its metric {answers['metric'][0]!r} does not compare labels"
    return references.why_none([asked.answer.strip() for asked in trained])


def reference_answers(
    rows: Sequence[AskedRow], answers: pl.DataFrame, trained: Sequence[AskedRow], seed: int
) -> list[pl.DataFrame]:
    """What the references say to the same items, in the form of `answer_table`.

    Args:
        rows: the dataset's rows behind the items, in their order.
        answers: of a model to these items.
        trained: rows with the labels that the references learn from.
        seed: of the classifier.
    """
    labels = [asked.answer.strip() for asked in trained]
    texts = [asked.text for asked in rows]
    predictions = {
        "majority": references.majority(labels, len(texts)),
        "bag_of_words": references.bag_of_words([asked.text for asked in trained], labels, texts, seed),
    }
    ordered = answers.filter(pl.col("sample") == 0).sort("position")
    detail = json.dumps({"trained_rows": len(labels)})
    return [
        ordered.with_columns(
            model=pl.lit(name),
            prediction=pl.Series(said, dtype=pl.String),
            score=(pl.Series(said, dtype=pl.String) == ordered["target"].str.strip_chars()).cast(pl.Float64),
            detail=pl.lit(detail),
        )
        for name, said in predictions.items()
    ]


def task_scores(table: pl.DataFrame, alpha: float) -> list[TaskScore]:
    """The score of each model on one task.

    Args:
        table: answers of all models to it.
        alpha: level of the two-sided intervals.
    """
    found = []
    for (model,), answers in table.group_by(["model"], maintain_order=True):
        higher = bool(answers["higher_is_better"][0])
        interval = _interval(answers, alpha, higher=higher)
        found.append(
            TaskScore(
                task=answers["task"][0],
                model=str(model),
                metric=answers["metric"][0],
                value=interval.estimate,
                higher_is_better=higher,
                items=answers["item_id"].n_unique(),
                failed=answers["score"].null_count(),
                low=interval.low if interval.low == interval.low else None,
                high=interval.high if interval.high == interval.high else None,
            )
        )
    return found


def _interval(answers: pl.DataFrame, alpha: float, *, higher: bool) -> Interval:
    """The mean score, samples averaged inside their item first; one that the model failed on counts as wrong."""
    scored = answers.with_columns(score=filled(answers["score"], higher=higher))
    items = scored.group_by("item_id", maintain_order=True).agg(pl.col("score").mean(), pl.col("cluster").first())
    values, clusters = items["score"].to_numpy(), items["cluster"].to_numpy()
    binary = answers.height == items.height and bool(answers["score"].drop_nulls().is_in([0.0, 1.0]).all())
    return proportion(values, clusters, alpha) if binary else clustered_mean(values, clusters, alpha)
