"""The model's score on new rows beside its recorded score on the test split."""

from __future__ import annotations

import json
import math
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl

from curate.configfile import Project
from curate.export import wire
from curate.load_supervisor import load_supervisor
from curate.readers.mapping import shape_records
from curate.score_test import student_quantile
from curate.supervision import Supervisor
from evals.answer_tables import answer_table
from evals.answering import open_answers, plain_command
from evals.chain import read_chain
from evals.consistency import filled
from evals.dataset_items import AskedRow, asked_rows, dataset_items
from evals.drift.judge import WORDS, rows_to_decide
from evals.drift.measurements.vocabulary import welch
from evals.drift.pool import Pool
from evals.drift.sample import MIN_ROWS
from evals.evaluation import Question, run_question
from evals.stats import Floats, cluster_totals, design_effect, wilson
from evals.tasks import Task, resolved_task, write_task
from schemas.drift import DriftEffect, DriftScore
from schemas.drift_config import DriftConfig
from schemas.errors import UserError
from schemas.manifest import open_stage, read_manifest
from schemas.progress import Progress
from schemas.results import EvalResults
from schemas.verdict import Outcome
from train.base_model import ensure_base_model
from train.rows import SplitRow
from train.run import trained_files

TUNED = "tuned"


@dataclass(frozen=True)
class Model:
    """A model that was evaluated on the test split."""

    project: Project
    results: Path
    """Manifest of the evaluation."""
    adapter: Path
    """Stage folder of training."""
    task: str
    """Name of the task over the test split."""


def not_asked(margin: float, why: str = "the model was not asked") -> DriftScore:
    """The record of a comparison without the model."""
    return DriftScore(outcome=Outcome.NOT_APPLICABLE, word="not_applicable", message=why, margin=margin)


def model_of(run: Path, project: Project) -> Model:
    """The model behind a run, with the task on which its score is recorded.

    Args:
        run: a result of evals, or of a gate or release after it.
        project: the config, which names the base model.

    Raises:
        UserError: nothing behind the run was evaluated, or not on the test split.
        ManifestError: a result differs from what was written.
    """
    chain = read_chain(run)
    results, adapter = chain.find("evals"), chain.find("train")
    if results is None or adapter is None:
        raise UserError(
            "--score compares with the recorded score on the test split, and none is behind this run",
            where=str(run),
            expected="a result of `assay evals`, or of `assay gate model` after it",
            help="run `assay evals` first, and name its folder",
        )
    _, folder = open_stage(results.path, "evals")
    open_stage(adapter.path, "train")
    found = EvalResults.model_validate_json((folder / "results.json").read_bytes())
    over_test = [name for name, about in found.tasks.items() if about.get("split") == "test"]
    plain = [name for name in over_test if not resolved_task(folder / "tasks", name).config.get("num_fewshot")]
    if not plain:
        raise UserError(
            "no task of this evaluation asks the rows of the test split without examples",
            where=str(folder),
            found=", ".join(sorted(found.tasks)),
            expected="a task with `dataset_path: dataset:test`, such as own_test",
        )
    return Model(project, results.path, adapter.folder, plain[0])


def scored(model: Model, pool: Pool, columns: dict[str, str], config: DriftConfig, progress: Progress) -> DriftScore:
    """Ask the model the new rows that it was not trained on anything like, and compare.

    Args:
        model: who is asked.
        pool: both sides.
        columns: our field name -> the records' column.
        config: margin, level, number of rows.
        progress: where it is shown.

    Raises:
        UserError: the model cannot be loaded, or a prompt is not what it was trained with.
    """
    folder = model.results.parent
    task = resolved_task(folder / "tasks", model.task)
    task = replace(task, config={"task": model.task, **task.config})
    settings = model.project.config.train
    base = ensure_base_model(settings.base_model, model.project.root)
    supervisor = load_supervisor(base, settings.max_length, needs_template=settings.method != "text")
    rows = asked_rows(supervisor, _split_rows(pool, columns, config))
    if len(rows) < MIN_ROWS:
        few = f"{len(rows)} labelled new rows that are unlike all known ones are too few to score, {MIN_ROWS} the least"
        found = not_asked(config.margin, few)
        return found.model_copy(update={"outcome": Outcome.INCONCLUSIVE, "word": "open"})
    new = _answers(model, task, rows, base, supervisor, progress)
    known = pl.read_parquet(folder / "items.parquet")
    known = known.filter((pl.col("task") == model.task) & (pl.col("model") == TUNED))
    higher = bool(new["higher_is_better"][0])
    return compared(_values(new, higher), _values(known, higher), str(new["metric"][0]), config, higher=higher)


def _split_rows(pool: Pool, columns: dict[str, str], config: DriftConfig) -> list[SplitRow]:
    """New rows whose set holds no known row, as rows of a split."""
    places = np.flatnonzero(pool.sample.new & pool.rows["unlike_known"].to_numpy())
    places = np.sort(np.random.default_rng(config.seed).permutation(places)[: config.items])
    shape = shape_records(columns)
    found = []
    for at, (row_id, place, record) in enumerate(pool.rows[places].select("row_id", "place", "record").rows()):
        shaped = shape(json.loads(record))
        if shaped is not None:
            found.append(SplitRow(row_id or place, None, at, place, None, wire(shaped)))
    return found


def _answers(
    model: Model, task: Task, rows: list[AskedRow], base: Path, supervisor: Supervisor, progress: Progress
) -> pl.DataFrame:
    known = sorted(ref.identity for ref in read_manifest(model.results).inputs if ref.role == "base_model")
    weights = {"base": known, TUNED: trained_files(read_manifest(model.adapter))}
    items = dataset_items(task, rows, model.results.parent)
    question = Question(task, items, rows, plain_command(model.project))
    with tempfile.TemporaryDirectory() as held:
        write_task(task, items, Path(held), question.command)
        answers = open_answers(model.project, base, model.adapter, {TUNED: weights}, progress)
        with answers.acting_as(TUNED) as asked:
            progress.begin(f"{TUNED} on new rows")
            run = run_question(asked, Path(held), question, supervisor)
    return answer_table(task, items, TUNED, run, [])


def _values(answers: pl.DataFrame, higher: bool) -> tuple[Floats, Floats]:
    """Score of each item, failed ones as wrong and several answers averaged, and its cluster."""
    scores = answers.with_columns(score=filled(answers["score"], higher=higher))
    items = scores.group_by("item_id", maintain_order=True).agg(pl.col("score").mean(), pl.col("cluster").first())
    return items["score"].to_numpy(), items["cluster"].to_numpy()


def compared(
    new: tuple[Floats, Floats], test: tuple[Floats, Floats], metric: str, config: DriftConfig, *, higher: bool
) -> DriftScore:
    """Whether the score on new rows is non-inferior to that on the test split, two independent samples.

    Scores of 0 and 1: Newcombe's interval of two Wilson intervals, on effective counts where items are clustered
    (Newcombe 1998, Stat. Med. 17:873-890). Others: Welch's interval over the means of clusters.

    Args:
        new: score and cluster of each new item.
        test: the same of the recorded ones.
        metric: its name.
        config: margin and level.
        higher: whether higher scores are better.
    """
    sign = 1.0 if higher else -1.0
    binary = bool(np.isin(np.concatenate([new[0], test[0]]), [0.0, 1.0]).all())
    low, high = (_newcombe if binary else _welch)(new, test, config.alpha)
    if not higher:
        low, high = -high, -low
    difference = sign * float(new[0].mean() - test[0].mean())
    loss = DriftEffect(estimate=-difference, low=-high, high=-low, bound=config.margin, p=1.0, method="")
    outcome = Outcome.INCONCLUSIVE
    if low > -config.margin:
        outcome = Outcome.PASS
    elif high < 0 and difference <= -config.margin:
        outcome = Outcome.FAIL
    sizes = len(new[0]), len(test[0])
    undecided = outcome is Outcome.INCONCLUSIVE
    more = rows_to_decide(loss, 0.0, sizes, (config.alpha, config.alpha)) if undecided else None
    told = f"the model scores {new[0].mean():.3f} ({metric}) on new rows beside {test[0].mean():.3f} on the test split"
    return DriftScore(
        outcome=outcome,
        word=WORDS[outcome],
        message=f"{told}, where a loss of {config.margin:g} counts",
        metric=metric,
        new=round(float(new[0].mean()), 6),
        test=round(float(test[0].mean()), 6),
        difference=round(difference, 6),
        low=round(low, 6),
        high=round(high, 6),
        margin=config.margin,
        new_items=sizes[0],
        test_items=sizes[1],
        rows_to_decide=more,
    )


def _newcombe(new: tuple[Floats, Floats], test: tuple[Floats, Floats], alpha: float) -> tuple[float, float]:
    def ends(side: tuple[Floats, Floats]) -> tuple[float, float, float]:
        effect = design_effect(*side)
        return float(side[0].mean()), *wilson(float(side[0].sum()) / effect, len(side[0]) / effect, 2 * alpha)

    first, low_first, high_first = ends(new)
    second, low_second, high_second = ends(test)
    low = first - second - math.hypot(first - low_first, high_second - second)
    return low, first - second + math.hypot(high_first - first, second - low_second)


def _welch(new: tuple[Floats, Floats], test: tuple[Floats, Floats], alpha: float) -> tuple[float, float]:
    means = []
    for scores, clusters in (new, test):
        sizes, sums = cluster_totals(scores, clusters)
        means.append(sums / sizes)
    difference, error, degrees = welch(means[0], means[1])
    reach = float(student_quantile(1 - alpha, degrees)) * error
    return difference - reach, difference + reach
