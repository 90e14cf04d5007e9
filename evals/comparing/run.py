"""The compare stage: every arm on the same items, what it said and what it took as files, and a recommendation."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from curate.configfile import Project
from curate.model_files import base_model_inputs
from evals.comparing.answering import answered
from evals.comparing.judge import judge_compare
from evals.comparing.knowledge import Knowledge
from evals.comparing.metrics import chosen_metric
from evals.comparing.models import Models
from evals.comparing.pages import write_pages
from evals.comparing.prompting import Item
from evals.comparing.reading import read_rows
from evals.comparing.setting import Arm, Setting, arms, training_seconds
from evals.comparing.tables import Lines, write_tables
from evals.comparing.written import ARMS, SCHEMA
from evals.discovery import named
from evals.references import majority
from evals.retrieval.passages import Read, read_passages
from evals.retrieval.search import BM25
from evals.run import dataset_of, require_installed
from evals.tokenizer_check import require_same_tokenizer
from schemas.atomic import write_atomic
from schemas.base import canonical_json, digest, folder_digest
from schemas.compare import Compared
from schemas.errors import AssayError, UserError
from schemas.manifest import InputRef, input_stage, manifest_path, open_stage, read_manifest
from schemas.progress import Progress
from schemas.stage import Finished, Stage, code_digest, inputs_from, run_stage
from schemas.terminal import printable
from train.base_model import ensure_base_model
from train.machine import device_class
from train.run import ADAPTER, MODEL

STAGE = "compare"
PACKAGES = ("numpy", "peft", "polars", "scikit-learn", "scipy", "torch", "transformers")


def compare_stage(project: Project, adapter: Path, documents: Read | None) -> Stage:
    """What `assay compare` is about to do, with the folder where its result lives.

    Args:
        project: the config.
        adapter: manifest (or folder) of the train stage.
        documents: what `compare.documents` holds; null where it names nothing.

    Raises:
        UserError: the adapter or the full run was made of another base model or of other rows.
        ManifestError: the adapter, its dataset or the full run cannot be read.
    """
    config, folder = project.config.compare, inputs_from(project.runs, STAGE)
    dataset = input_stage("dataset", dataset_of(adapter), folder)
    base = base_model_inputs(ensure_base_model(project.config.train.base_model, project.root), folder)
    inputs = [input_stage("adapter", adapter, folder), dataset, *base]
    _require_made_of(adapter, "base_model", base, "train.base_model")
    if config.full is not None:
        full = manifest_path(project.root / config.full)
        _require_made_of(full, "base_model", base, "compare.full")
        _require_made_of(full, "dataset", [dataset], "compare.full")
        inputs.append(input_stage("full", full, folder))
    texts = None if documents is None else digest(canonical_json([[p.source, p.text] for p in documents.passages]))
    evals = project.config.evals
    return Stage(
        stage=STAGE,
        name=project.config.name,
        config={
            "compare": config.model_dump(mode="json"),
            "price_per_hour": project.config.train.price_per_hour,
            "dtype": evals.dtype,
            "batch_size": evals.batch_size,
            "slice_by": list(evals.slice_by),
            "max_length": project.config.train.max_length,
            "documents": texts,
            "retriever": None if config.retriever == BM25 else _retriever_digest(project.root / config.retriever),
        },
        config_given={"compare": project.given.get("compare", {})},
        inputs=tuple(inputs),
        code=code_digest(["schemas", "curate", "train", "evals"]),
        root=project.runs,
        packages=PACKAGES,
        seeds={"compare": config.seed},
    )


def _require_made_of(run: Path, role: str, expected: Sequence[InputRef], where: str) -> None:
    found = sorted(ref.identity for ref in read_manifest(run).inputs if ref.role == role)
    wanted = sorted(ref.identity for ref in expected)
    if found and found != wanted:
        raise UserError(
            f"this run was made of another {role.replace('_', ' ')}, so its answers could not be compared",
            where=f"{where}: {manifest_path(run)}",
            found=f"digest {found[0][:16]}",
            expected=f"digest {wanted[0][:16]}",
            help="name a run of the same base model and the same rows",
        )


def _retriever_digest(folder: Path) -> str:
    """One digest of all files of an embedding model."""
    if not folder.is_dir():
        raise UserError(
            "there is no embedding model in this folder",
            where=f"compare.retriever: {folder}",
            found="no such folder",
            expected=f"{BM25}, or the folder of an embedding model",
        )
    return folder_digest(folder)


def compare(project: Project, adapter: Path, progress: Progress) -> Finished:
    """Ask every arm, or return what an equal run found; answers that a stopped run got are not asked for again.

    Args:
        project: the config.
        adapter: manifest of the train stage; it must hash to what training wrote, and so must its dataset.
        progress: where it is shown.

    Raises:
        UserError, ManifestError: see `compare_stage` and `read_rows`; or no arm could be asked.
        MissingExtra: an optional dependency is not installed.
    """
    require_installed()
    named(arms(), project.config.compare.arms or [], "arm", "compare.arms")
    _, adapter_folder = open_stage(adapter, "train")
    _, dataset_folder = open_stage(dataset_of(adapter), "curate")
    full = project.config.compare.full
    full_folder = None if full is None else open_stage(project.root / full, "train")[1]
    config = project.config.compare
    documents = read_passages(project.root / config.documents, config.passage_words) if config.documents else None
    stage = compare_stage(project, adapter, documents)
    comparison = Comparison(project, stage, adapter_folder, dataset_folder, full_folder, documents, progress)
    return run_stage(stage, comparison.fill, device=device_class)


@dataclass(frozen=True)
class Comparison:
    """One run of the compare stage."""

    project: Project
    stage: Stage
    adapter: Path
    """Stage folder of training."""
    dataset: Path
    full: Path | None
    """Stage folder of a run with train.method full."""
    documents: Read | None
    progress: Progress

    def fill(self, folder: Path) -> dict[str, int]:
        """Write all files of the stage and give its counts."""
        config = self.project.config.compare
        setting, models = self._setting()
        wanted = {name: arm for name, arm in arms().items() if name in (config.arms or arms())}
        asked = [self._asked(name, arm, setting, models) for name, arm in wanted.items()]
        records = [record for record, _ in asked]
        failed = [record for record in records if record["status"] == "failed"]
        if not any(record["status"] == "ran" for record in records):
            raise UserError(
                "no arm could be asked",
                where=str(self.project.path),
                found="; ".join(f"{record['name']}: {record['reason']}" for record in records),
                help="repair what stands in the way of one of them",
            )
        write_tables(folder, [lines for _, lines in asked])
        plain = [item for item in setting.items if not item.variant]
        found = {
            "schema": SCHEMA,
            "metric": setting.metric.name,
            "items": len(plain),
            "arms": records,
            "floor": self._floor(setting, plain),
            "retrieval": self._retrieval(setting, plain),
        }
        write_atomic(folder / ARMS, json.dumps(found, indent=1, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
        write_pages(folder, self._judged(folder))
        return {
            "items": len(plain),
            "arms": sum(record["status"] == "ran" for record in records),
            "failed_arms": len(failed),
        }

    def _judged(self, folder: Path) -> Compared:
        config, hour = self.project.config.compare, self.project.config.train.price_per_hour
        prices = config.prices
        if prices.machine_hour is None and hour is not None:
            prices = prices.model_copy(update={"machine_hour": hour})
        return judge_compare(folder, alpha=config.alpha, margin=config.margin, prices=prices, seed=config.seed)

    def _setting(self) -> tuple[Setting, Models]:
        config, project = self.project.config.compare, self.project
        base = ensure_base_model(project.config.train.base_model, project.root)
        tuned = [self.adapter / ADAPTER, self.adapter / MODEL]
        for folder in tuned if self.full is None else [*tuned, self.full / MODEL]:
            require_same_tokenizer(folder, base)
        read = read_rows(project, self.dataset, self.adapter, base)
        weights = sorted(ref.identity for ref in self.stage.inputs if ref.role == "base_model")
        models = Models(project, base, weights, self.adapter, self.full, read.speaker, self.progress)
        setting = Setting(
            items=read.items,
            validation=read.validation,
            trained=read.trained,
            labels=read.labels,
            config=config,
            metric=chosen_metric(config, read.labels),
            speaker=read.speaker,
            ask=models.ask,
            knowledge=Knowledge(config, project.root, self.documents, read.trained, read.held_out),
            training_seconds=training_seconds(self.adapter),
            full=self.full,
        )
        return setting, models

    def _asked(self, name: str, arm: Arm, setting: Setting, models: Models) -> tuple[dict[str, Any], Lines]:
        """The record of an arm, and what it said; one that fails leaves the others to go on."""
        record: dict[str, Any] = {"name": name, "title": arm.TITLE, "status": "not_applicable", "model": "none"}
        record |= {"reason": arm.applies(setting), "facts": {}, "fixed_seconds": 0.0, "price": None}
        if record["reason"]:
            return record, Lines()
        self.progress.begin(arm.TITLE, "items")
        try:
            prepared = arm.prepare(setting)
            record["model"] = prepared.model
            found, lines = answered(name, prepared, setting, models)
        except Exception as error:  # memory, a server, a file: whatever an arm meets must not stop the others
            reason = _reason(error)
            self.progress.say(f"{arm.TITLE} failed: {printable(reason)}")
            return record | {"status": "failed", "reason": reason}, Lines()
        endpoint = setting.config.endpoint
        if prepared.model == "endpoint" and endpoint is not None and endpoint.input_per_million is not None:
            record["price"] = endpoint.model_dump(include={"input_per_million", "output_per_million"})
        record |= {"status": "ran", "facts": prepared.facts | found, "fixed_seconds": prepared.fixed_seconds}
        return record, lines

    def _floor(self, setting: Setting, items: Sequence[Item]) -> dict[str, Any] | None:
        """What needs no arm at all: the most frequent trained label."""
        if not setting.labels or not setting.trained:
            return None
        (label,) = majority([row.answer.strip() for row in setting.trained], 1)
        scores = {item.item_id: setting.metric.score(label, item.answer) for item in items}
        return {"title": f"always {label!r}, the most frequent trained label", "scores": scores}

    def _retrieval(self, setting: Setting, items: Sequence[Item]) -> dict[str, Any] | None:
        """What the index was made of and how well it finds; null where no arm that ran retrieved documents."""
        if "documents" not in vars(setting.knowledge):
            return None
        return setting.knowledge.documents.facts | setting.knowledge.quality(items)


def _reason(error: Exception) -> str:
    if isinstance(error, AssayError):
        return "; ".join(": ".join(filter(None, (one.what, one.where, one.found))) for one in error.problems)
    return f"{type(error).__name__}: {error}"[:300]
