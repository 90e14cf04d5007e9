"""One evaluation: what is asked, who answers, and what is written down."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from curate.configfile import Project
from curate.contamination.index import Key
from curate.load_supervisor import load_supervisor
from curate.supervision import Supervisor
from evals import references
from evals.built_in import built_in_items
from evals.consistency import ITEM_SCHEMA, filled
from evals.contaminated import index_key, marked_items, read_contamination
from evals.dataset_items import AskedRow, dataset_items, loss_rows, prompt_check, sampled, split_rows, trained_rows
from evals.evidence import GENERAL_TEXT, LOSSES, ROWS, TOKENS
from evals.general_text import Passage, general_files, passages, score_general
from evals.makers import Given, make_task
from evals.parts import Parts, count_parts
from evals.responses import Responses
from evals.row_facts import ReadRows, canary_losses, row_facts, row_table
from evals.same_tokens import require_same_tokens
from evals.scoring import ORIGINAL, LossRow, expect_losses, losses_of, score_losses, summarise_losses
from evals.stats import Interval, clustered_mean, proportion
from evals.tasks import Items, Task, file_items, find_task, slices_of, write_task
from evals.variants import asks_for_variants, variant_rows
from schemas.atomic import write_atomic
from schemas.base import file_digest, fingerprint
from schemas.errors import UserError
from schemas.manifest import read_manifest
from schemas.progress import Progress
from schemas.results import EvalResults, TaskScore
from schemas.stage import Stage
from train.base_model import ensure_base_model
from train.run import trained_files

if TYPE_CHECKING:
    from evals.harness import TaskRun

MODELS = ("base", "tuned")
GENERAL = "general"
"""The part that compares both models on text that has nothing to do with the task."""

RUN_SCHEMA = {"metric": pl.String, "higher_is_better": pl.Boolean, "output_type": pl.String}
"""What a finished part says about its task, beside its items."""


@dataclass(frozen=True)
class Question:
    """A suite, with the items that are asked."""

    task: Task
    items: Items
    rows: list[AskedRow]
    """The dataset's rows behind the items; empty for items from the task's own files."""

    @property
    def chat_template(self) -> bool:
        """Whether the model's chat template is put around the task's texts; `metadata.chat_template` says otherwise."""
        metadata = self.task.config.get("metadata")
        return not isinstance(metadata, dict) or metadata.get("chat_template", "model") == "model"

    @property
    def command(self) -> str:
        """The plain lm-eval command that asks the same, from the folder of the resolved task."""
        model = "--model hf --model_args pretrained=BASE_MODEL,peft=ADAPTER,dtype=float32"
        template = " --apply_chat_template" if self.chat_template else ""
        return f"lm_eval {model} --include_path . --tasks {self.task.name}{template}"


@dataclass(frozen=True)
class Evaluation:
    """One run of the evals stage."""

    project: Project
    stage: Stage
    adapter: Path
    """Stage folder of training."""
    dataset: Path
    """Stage folder of the curated dataset."""
    progress: Progress

    def fill(self, folder: Path) -> dict[str, int]:
        """Write all files of the stage and give its counts."""
        parts = Parts(folder, self.stage.fingerprint)
        settings = self.project.config.evals
        base = ensure_base_model(self.project.config.train.base_model, self.project.root)
        require_same_tokens(base, self.adapter)
        config = self.project.config.train
        supervisor = load_supervisor(base, config.max_length, needs_template=config.method != "text")
        trained = trained_rows(self.dataset, self.adapter, supervisor)
        questions = [self._question(name, supervisor) for name in settings.suites]
        for question in questions:
            write_task(question.task, question.items, folder / "tasks", question.command)
        rows = ReadRows(self.dataset, self.adapter)
        losses = self._measured(trained, rows, supervisor)
        texts = passages(supervisor, general_files(self.project))
        self._answer(folder, base, questions, losses, texts, parts)
        tables = [self._table(question, trained, parts) for question in questions]
        token_table = pl.concat([parts.read(f"losses.{model}") for model in MODELS])
        loss_table = losses_of(token_table)
        found = read_contamination(self.dataset)
        key = index_key(found, self.project.index_key_file())
        results = EvalResults(
            scores=tuple(score for table in tables for score in self._scores(table)),
            models=self._models(),
            tasks={
                q.task.name: _describe(q, table, trained, folder) | _marks(q, table, found, key)
                for q, table in zip(questions, tables, strict=True)
            },
            losses=summarise_losses(loss_table),
            overfitting=row_facts(rows),
        )
        items = pl.concat(tables).select([*ITEM_SCHEMA, "slices"])
        items.write_parquet(folder / "items.parquet")
        loss_table.write_parquet(folder / LOSSES)
        token_table.write_parquet(folder / TOKENS)
        row_table(rows, losses, settings.seed).write_parquet(folder / ROWS)
        parts.read(GENERAL).write_parquet(folder / GENERAL_TEXT)
        write_atomic(folder / "results.json", results.model_dump_json(indent=1, by_alias=True).encode("utf-8") + b"\n")
        parts.close()
        return {
            "tasks": len(questions),
            "items": sum(len(question.items.ids) for question in questions),
            "failed": items["score"].null_count(),
            "trained_rows": sum((row.split, row.variant) == ("train", ORIGINAL) for row in losses),
            "test_rows": sum((row.split, row.variant) == ("test", ORIGINAL) for row in losses),
        }

    def _measured(self, trained: Sequence[AskedRow], rows: ReadRows, supervisor: Supervisor) -> list[LossRow]:
        """The rows whose supervised tokens are scored: samples of trained and test rows, and all canaries."""
        settings = self.project.config.evals
        most = settings.test_rows if settings.limit is None else min(settings.test_rows, settings.limit)
        alike = {row.row_id for row in rows.compared}
        compared = [asked for asked in trained if asked.row.row_id in alike]
        losses = loss_rows("train", sampled(compared, settings.trained_rows, settings.seed))
        held_out = split_rows(self.dataset, "test", supervisor, most, settings.seed)
        losses += loss_rows("test", held_out)
        losses += canary_losses(supervisor, self.adapter)
        if asks_for_variants(self.project):
            known = {row.row_id for row in losses if row.split == "train"}
            losses += variant_rows(supervisor, "train", [asked.row for asked in compared if asked.row.row_id in known])
            losses += variant_rows(supervisor, "test", [asked.row for asked in held_out])
        return losses

    def _question(self, name: str, supervisor: Supervisor) -> Question:
        settings = self.project.config.evals
        task, items = find_task(name, self.project.root), None
        if task.made:
            task, items = make_task(task, self._given(supervisor))
        elif task.built_in:
            task, items = built_in_items(task, settings.limit, settings.seed, network=settings.network)
        if task.split is None:
            return Question(task, items or file_items(task, settings.limit, settings.seed), [])
        rows = split_rows(self.dataset, task.split, supervisor, settings.limit, settings.seed)
        return Question(task, dataset_items(task, rows, self.dataset), rows)

    def _given(self, supervisor: Supervisor) -> Given:
        """What suites are made from."""
        settings = self.project.config.evals

        def rows(split: str) -> list[AskedRow]:
            if split == "train":
                return trained_rows(self.dataset, self.adapter, supervisor)
            return split_rows(self.dataset, split, supervisor, None, settings.seed)

        return Given(settings.seed, settings.limit, rows, supervisor.prompt)

    def _answer(
        self,
        folder: Path,
        base: Path,
        questions: Sequence[Question],
        losses: Sequence[LossRow],
        texts: Sequence[Passage],
        parts: Parts,
    ) -> None:
        """Let base and tuned answer what is not answered yet."""
        needed = [GENERAL, *(f"losses.{model}" for model in MODELS)]
        needed += [f"{question.task.name}.{model}" for question in questions for model in MODELS]
        if parts.has(*needed):
            return
        from evals.harness import run_task, shared_lm
        from evals.models import load_models
        from evals.token_scores import TokenScorer

        finished = count_parts(folder)
        if finished:
            self.progress.say(f"going on with {finished} of {len(needed)} parts finished")
        loaded = load_models(base, self.adapter)
        settings = self.project.config.evals
        size = settings.batch_size
        scorer = TokenScorer(loaded.model, size, loaded.max_length, self.progress.advance)
        lm = shared_lm(scorer, loaded.tokenizer)
        for model in MODELS:
            scorer.forget()
            store = Responses(self.project.runs, {**self._weights(model), "engine": loaded.engine})
            with contextlib.closing(store), loaded.acting_as(model):
                scorer.store = store
                if not parts.has(f"losses.{model}"):
                    expect_losses(scorer, losses)
                for question in questions:
                    name = question.task.name
                    if parts.has(f"{name}.{model}"):
                        continue
                    self.progress.begin(f"{model} on {name}")
                    check = prompt_check(question.task, question.rows, lm.tok_encode) if question.rows else None
                    run = run_task(
                        lm,
                        folder / "tasks",
                        name,
                        chat_template=question.chat_template,
                        check=check,
                        source=question.task.path,
                    )
                    parts.write(f"{name}.{model}", _answers(question, model, run, settings.slice_by))
                if not parts.has(f"losses.{model}"):
                    self.progress.begin(f"{model}, supervised loss")
                    parts.write(f"losses.{model}", score_losses(scorer, model, losses))
        if not parts.has(GENERAL):
            scorer.forget()
            self.progress.begin("base and tuned on neutral text")
            with contextlib.closing(
                Responses(self.project.runs, {**self._weights("tuned"), "engine": loaded.engine})
            ) as store:
                parts.write(GENERAL, score_general(scorer, loaded.acting_as, texts, store))
        for error in sorted(set(scorer.errors)):
            self.progress.say(f"the model failed on an item: {error}")

    def _weights(self, model: str) -> dict[str, Any]:
        """The bytes that decide what a model answers: base weights and tokenizer, and of the tuned one the adapter."""
        base = sorted(ref.identity for ref in self.stage.inputs if ref.role == "base_model")
        return {"base": base, "tuned": trained_files(read_manifest(self.adapter)) if model == "tuned" else {}}

    def _table(self, question: Question, trained: Sequence[AskedRow], parts: Parts) -> pl.DataFrame:
        """All answers to a task, those of the references included."""
        tables = [parts.read(f"{question.task.name}.{model}") for model in MODELS]
        if not _why_no_references(question, tables[0], trained):
            tables += _reference_answers(question, tables[0], trained, self.project.config.evals.seed)
        return pl.concat(tables)

    def _scores(self, table: pl.DataFrame) -> list[TaskScore]:
        alpha = self.project.config.gates.model.alpha
        found = []
        for (model,), answers in table.group_by(["model"], maintain_order=True):
            higher = bool(answers["higher_is_better"][0])
            interval = _interval(answers, alpha, higher=higher)
            ends = (interval.low, interval.high)
            found.append(
                TaskScore(
                    task=answers["task"][0],
                    model=str(model),
                    metric=answers["metric"][0],
                    value=interval.estimate,
                    higher_is_better=higher,
                    items=len(answers),
                    failed=answers["score"].null_count(),
                    low=ends[0] if ends[0] == ends[0] else None,
                    high=ends[1] if ends[1] == ends[1] else None,
                )
            )
        return found

    def _models(self) -> dict[str, dict[str, str]]:
        identities: dict[str, list[str]] = {}
        for ref in self.stage.inputs:
            identities.setdefault(ref.role, []).append(ref.identity)
        base = identities["base_model"]
        weights = {
            "weights": base[0] if len(base) == 1 else fingerprint(sorted(base)),
            "dtype": "float32",
            "engine": "transformers",
        }
        return {"base": weights, "tuned": weights | {"adapter": identities["adapter"][0]}}


def _answers(question: Question, model: str, run: TaskRun, slice_by: Sequence[str]) -> pl.DataFrame:
    """A model's answers to a task, with the columns of ITEM_SCHEMA, `slices`, and those of RUN_SCHEMA."""
    items = question.items
    if len(run.items) != len(items.ids):
        raise UserError(
            "the task asked another number of items than there are",
            where=str(question.task.path),
            found=f"{len(run.items)} items",
            expected=f"{len(items.ids)}, each in its place",
            help="`process_docs` may change items, but not drop or add any; change the file of items instead",
        )
    lines = [
        (
            question.task.name,
            model,
            items.ids[item.position],
            item.position,
            items.clusters[item.position],
            item.target,
            item.prediction,
            item.score,
            item.detail,
            item.prompt_sha256,
            slices_of(items.documents[item.position], slice_by),
            run.metric,
            run.higher_is_better,
            run.output_type,
        )
        for item in run.items
    ]
    return pl.DataFrame(lines, schema={**ITEM_SCHEMA, "slices": pl.String, **RUN_SCHEMA}, orient="row")


def _why_no_references(question: Question, answers: pl.DataFrame, trained: Sequence[AskedRow]) -> str:
    if not question.rows:
        return "its items are not rows of the dataset, so no label of theirs was trained"
    if answers["metric"][0] not in ("acc", "exact_match"):
        return f"its metric {answers['metric'][0]!r} does not compare labels"
    return references.why_none([asked.answer.strip() for asked in trained])


def _reference_answers(
    question: Question, answers: pl.DataFrame, trained: Sequence[AskedRow], seed: int
) -> list[pl.DataFrame]:
    """What the references say to the same items, in the form of `_answers`."""
    labels = [asked.answer.strip() for asked in trained]
    texts = [asked.text for asked in question.rows]
    predictions = {
        "majority": references.majority(labels, len(texts)),
        "bag_of_words": references.bag_of_words([asked.text for asked in trained], labels, texts, seed),
    }
    ordered = answers.sort("position")
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


def _interval(answers: pl.DataFrame, alpha: float, *, higher: bool) -> Interval:
    """The mean score; an item that the model failed on counts as wrong."""
    scores, clusters = answers["score"], answers["cluster"].to_numpy()
    values = filled(scores, higher=higher).to_numpy()
    binary = bool(scores.drop_nulls().is_in([0.0, 1.0]).all())
    return proportion(values, clusters, alpha) if binary else clustered_mean(values, clusters, alpha)


def _marks(question: Question, table: pl.DataFrame, found: dict[str, Any] | None, key: Key | None) -> dict[str, Any]:
    """Which items touch trained rows; rows of the dataset's own splits are kept apart by its proof."""
    return {} if question.rows else {"contamination": marked_items(found, table, key)}


def _describe(question: Question, table: pl.DataFrame, trained: Sequence[AskedRow], folder: Path) -> dict[str, Any]:
    name = question.task.name
    found = {
        "file": f"tasks/{name}.yaml",
        "sha256": file_digest(folder / "tasks" / f"{name}.yaml"),
        "metric": table["metric"][0],
        "higher_is_better": bool(table["higher_is_better"][0]),
        "output_type": table["output_type"][0],
        "split": question.task.split,
        "items": len(question.items.ids),
        "clusters": len(set(question.items.clusters)),
        "command": question.command,
    }
    reason = _why_no_references(question, table, trained)
    return found | ({"no_references": reason} if reason else {})
