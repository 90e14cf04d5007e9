"""One evaluation: what is asked, who answers, and what is written down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from curate.configfile import Project
from curate.contamination.index import Key
from curate.load_supervisor import load_supervisor
from curate.supervision import Supervisor
from evals.answer_tables import answer_table, reference_answers, task_scores, why_no_references
from evals.answering import Asked, open_answers, plain_command
from evals.built_in import built_in_items
from evals.consistency import ITEM_SCHEMA
from evals.contaminated import index_key, marked_items, read_contamination
from evals.dataset_items import (
    AskedRow,
    asked_rows,
    dataset_items,
    loss_rows,
    read_trained,
    sampled,
    shown_split,
    split_rows,
)
from evals.evidence import GENERAL_TEXT, LOSSES, ROWS, SINCE, TOKENS
from evals.general_text import Passage, general_files, passages
from evals.makers import Given, make_task
from evals.parts import Parts, count_parts
from evals.prompt_checks import PromptSource, prompt_check
from evals.row_facts import ReadRows, canary_losses, row_facts, row_table
from evals.scoring import ORIGINAL, TOKEN_SCHEMA, LossRow, expect_losses, losses_of, score_losses, summarise_losses
from evals.slicing import require_fields
from evals.tasks import Items, Task, file_items, find_task, write_task
from evals.tokenizer_check import require_same_tokenizer
from evals.variants import asks_for_variants, variant_rows
from schemas.atomic import write_atomic
from schemas.base import file_digest, fingerprint
from schemas.manifest import read_manifest
from schemas.progress import Progress
from schemas.results import EvalResults
from schemas.stage import Stage
from train.base_model import ensure_base_model
from train.run import ADAPTER, MODEL, trained_files

if TYPE_CHECKING:
    from evals.harness import TaskRun

MODELS = ("base", "tuned")
SHOWN_ROWS = 200
"""Most rows that few-shot examples are drawn from."""
GENERAL = "general"
"""The part that compares both models on text that has nothing to do with the task."""


@dataclass(frozen=True)
class Question:
    """A suite, with the items that are asked."""

    task: Task
    items: Items
    rows: list[AskedRow]
    """The dataset's rows behind the items; empty for items from the task's own files."""
    model: str
    """The beginning of an lm-eval command, with the model."""

    @property
    def chat_template(self) -> bool:
        """Whether the model's chat template is put around the task's texts; `metadata.chat_template` says otherwise."""
        metadata = self.task.config.get("metadata")
        return not isinstance(metadata, dict) or metadata.get("chat_template", "model") == "model"

    @property
    def command(self) -> str:
        """The plain lm-eval command that asks the same, from the folder of the resolved task."""
        template = " --apply_chat_template" if self.chat_template else ""
        return f"{self.model} --include_path . --tasks {self.task.name}{template}"


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
    device: list[str] = field(default_factory=list)
    """What answered, once it did: the class of its device."""

    def fill(self, folder: Path) -> dict[str, int]:
        """Write all files of the stage and give its counts."""
        parts = Parts(folder, self.stage.fingerprint)
        settings = self.project.config.evals
        base = ensure_base_model(self.project.config.train.base_model, self.project.root)
        for name in (ADAPTER, MODEL):
            require_same_tokenizer(self.adapter / name, base)
        config = self.project.config.train
        supervisor = load_supervisor(base, config.max_length, needs_template=config.method != "text")
        rows = ReadRows(self.dataset, self.adapter)
        trained = asked_rows(supervisor, rows.trained)
        questions = [self._question(name, supervisor) for name in settings.suites]
        require_fields((document for q in questions for document in q.items.documents), settings.slice_by)
        for question in questions:
            write_task(question.task, question.items, folder / "tasks", question.command)
        no_losses = self._check(questions)
        losses = [] if no_losses else self._measured(trained, rows, supervisor)
        texts = passages(supervisor, general_files(self.project))
        self._answer(folder, base, questions, losses, texts, parts, supervisor)
        tables = [self._table(question, trained, parts) for question in questions]
        token_table = pl.concat([parts.read(f"losses.{model}") for model in MODELS])
        loss_table = losses_of(token_table)
        token_table.write_parquet(folder / TOKENS)
        row_table(rows, losses, settings.seed).write_parquet(folder / ROWS)
        parts.read(GENERAL).write_parquet(folder / GENERAL_TEXT)
        found = read_contamination(self.dataset)
        key = index_key(found, self.project.index_key_file())
        results = EvalResults(
            scores=tuple(
                score for table in tables for score in task_scores(table, self.project.config.gates.model.alpha)
            ),
            models=self._models(parts.engine),
            tasks={
                q.task.name: _describe(q, table, trained, folder) | _marks(q, table, found, key)
                for q, table in zip(questions, tables, strict=True)
            },
            losses=summarise_losses(loss_table),
            no_losses=no_losses,
            tables={name: file_digest(folder / name) for name in SINCE},
            overfitting=row_facts(rows),
        )
        items = pl.concat(tables).select([*ITEM_SCHEMA, "sample", "slices"])
        items.write_parquet(folder / "items.parquet")
        loss_table.write_parquet(folder / LOSSES)
        write_atomic(folder / "results.json", results.model_dump_json(indent=1, by_alias=True).encode("utf-8") + b"\n")
        self.device.append(str(parts.engine["device"]))
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
        model = plain_command(self.project)
        if task.split is None:
            return Question(task, items or file_items(task, settings.limit, settings.seed), [], model)
        rows = split_rows(self.dataset, task.split, supervisor, settings.limit, settings.seed, settings.slice_by)
        judged = {asked.document["user"] for asked in rows}
        shown = [asked for asked in self._shown(task, supervisor) if asked.document["user"] not in judged]
        return Question(task, dataset_items(task, rows, self.dataset, shown), rows, model)

    def _shown(self, task: Task, supervisor: Supervisor) -> list[AskedRow]:
        """Rows of the split that few-shot examples of a task over the dataset are drawn from."""
        split, seed = shown_split(task), self.project.config.evals.seed
        if split == "train":
            return sampled(asked_rows(supervisor, read_trained(self.dataset, self.adapter)), SHOWN_ROWS, seed)
        return split_rows(self.dataset, split, supervisor, SHOWN_ROWS, seed) if split else []

    def _given(self, supervisor: Supervisor) -> Given:
        """What suites are made from."""
        settings = self.project.config.evals

        def rows(split: str) -> list[AskedRow]:
            if split == "train":
                return asked_rows(supervisor, read_trained(self.dataset, self.adapter))
            return split_rows(self.dataset, split, supervisor, None, settings.seed)

        return Given(settings.seed, settings.limit, rows, supervisor.prompt)

    def _check(self, questions: Sequence[Question]) -> str:
        """Refuse what the backend cannot answer, before anything is asked; gives why it has no losses."""
        backend = self.project.config.evals.backend
        if backend is None:
            return ""
        from evals.backends import check_tasks, why_no_losses

        rendered = [question.task.name for question in questions if not question.chat_template]
        check_tasks(backend, [question.task for question in questions], rendered)
        return why_no_losses(backend)

    def _answer(
        self,
        folder: Path,
        base: Path,
        questions: Sequence[Question],
        losses: Sequence[LossRow],
        texts: Sequence[Passage],
        parts: Parts,
        supervisor: Supervisor,
    ) -> None:
        """Let base and tuned answer what is not answered yet."""
        needed = {model: [f"losses.{model}", *(f"{q.task.name}.{model}" for q in questions)] for model in MODELS}
        needed[GENERAL] = [GENERAL]
        count = sum(map(len, needed.values()))
        if all(parts.has(*names) for names in needed.values()):
            return
        finished = count_parts(folder)
        if finished:
            self.progress.say(f"going on with {finished} of {count} parts finished")
        weights = {model: self._weights(model) for model in MODELS}
        answers = open_answers(self.project, base, self.adapter, weights, self.progress)
        parts.answered_by(answers.engine)
        for model in MODELS:
            if parts.has(*needed[model]):
                continue
            with answers.acting_as(model) as asked:
                if asked.scorer is not None and not parts.has(f"losses.{model}"):
                    expect_losses(asked.scorer, losses)
                for question in questions:
                    name = f"{question.task.name}.{model}"
                    if not parts.has(name):
                        self.progress.begin(f"{model} on {question.task.name}")
                        run = run_question(asked, folder / "tasks", question, supervisor)
                        fields = self.project.config.evals.slice_by
                        parts.write(name, answer_table(question.task, question.items, model, run, fields))
                if not parts.has(f"losses.{model}"):
                    self.progress.begin(f"{model}, supervised loss")
                    none = pl.DataFrame(schema=TOKEN_SCHEMA)
                    measured = score_losses(asked.scorer, model, losses) if asked.scorer else none
                    parts.write(f"losses.{model}", measured)
        if not parts.has(GENERAL):
            self.progress.begin("base and tuned on neutral text")
            parts.write(GENERAL, answers.on_general_text(texts))
        for error in sorted(set(answers.errors)):
            self.progress.say(f"the model failed on an item: {error}")

    def _weights(self, model: str) -> dict[str, Any]:
        """The bytes that decide what a model answers: base weights and tokenizer, and of the tuned one the adapter."""
        base = sorted(ref.identity for ref in self.stage.inputs if ref.role == "base_model")
        return {"base": base, "tuned": trained_files(read_manifest(self.adapter)) if model == "tuned" else {}}

    def _table(self, question: Question, trained: Sequence[AskedRow], parts: Parts) -> pl.DataFrame:
        """All answers to a task, those of the references included."""
        tables = [parts.read(f"{question.task.name}.{model}") for model in MODELS]
        if not why_no_references(question.rows, tables[0], trained):
            tables += reference_answers(question.rows, tables[0], trained, self.project.config.evals.seed)
        return pl.concat(tables)

    def _models(self, engine: dict[str, Any]) -> dict[str, dict[str, Any]]:
        """Digests of the weights, and what answered; an endpoint is only said to hold these weights."""
        identities: dict[str, list[str]] = {}
        for ref in self.stage.inputs:
            identities.setdefault(ref.role, []).append(ref.identity)
        base, backend = identities["base_model"], self.project.config.evals.backend
        weights = {"weights": base[0] if len(base) == 1 else fingerprint(sorted(base)), **engine}
        own = {model: backend.own_arguments(model) if backend else {} for model in MODELS}
        named = {model: {"named_by": arguments} if arguments else {} for model, arguments in own.items()}
        return {
            "base": weights | named["base"],
            "tuned": weights | {"adapter": identities["adapter"][0]} | named["tuned"],
        }


def run_question(asked: Asked, folder: Path, question: Question, supervisor: Supervisor) -> TaskRun:
    """Let a model answer a suite, every prompt being checked first.

    Args:
        asked: the model.
        folder: where `write_task` left the suite.
        question: the suite.
        supervisor: renders what training rendered.
    """
    from evals.harness import run_task

    task, check = question.task, None
    if question.rows:
        examples = question.items.others.get(shown_split(task))
        said = PromptSource(supervisor, asked.tokens, asked.lm)
        check = prompt_check(task, question.rows, said, examples)
    return run_task(asked.lm, folder, task.name, chat_template=question.chat_template, check=check, source=task.path)


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
    reason = why_no_references(question.rows, table, trained)
    return found | ({"no_references": reason} if reason else {})
