"""The train stage: what must hold before weights are loaded, and what is published afterwards."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from pydantic import ValidationError

from curate.configfile import Project
from curate.gate import data_gate_stage
from curate.model_files import base_model_inputs, find_model_folder
from schemas.atomic import write_atomic
from schemas.errors import AssayError, ManifestError, MissingExtra, UserError
from schemas.manifest import MANIFEST_NAME, Manifest, input_file, input_stage, manifest_path, open_stage, read_manifest
from schemas.stage import Finished, Stage, code_digest, inputs_from, run_stage, stage_folder
from schemas.train_config import TrainConfig
from schemas.verdict import Outcome, Verdict
from train.base_model import ensure_base_model
from train.batches import epoch_order
from train.checkpoints import step_of
from train.examples import Example, TokenLedger
from train.machine import device_class
from train.prepare import Prepared, prepare, watch_steps
from train.processes import is_main_process, processes, wait_for_all
from train.rewards import reward_files

if TYPE_CHECKING:
    from train.monitor import View

STAGE = "train"
ADAPTER = "adapter"
MODEL = "model"
CHECKPOINTS = "checkpoints"
LEDGER = "ledger.json"
METRICS = "metrics.jsonl"
TRAINED_ROWS = "trained_rows.parquet"
VERDICT = "verdict.json"

NOT_OF_THE_RESULT = {"price_per_hour", "report_to"}
"""Settings that change no byte of what is trained."""
PACKAGES = ("accelerate", "datasets", "peft", "safetensors", "tokenizers", "torch", "transformers", "trl")


def find_data_verdict(runs: Path, dataset: Path) -> Path | None:
    """The manifest of the newest data verdict on a dataset, or None.

    Args:
        runs: the folder of all results.
        dataset: the dataset's folder or manifest. Verdicts are matched by its content, not by its place.
    """
    wanted = read_manifest(dataset).content_digest
    found = []
    for path in stage_folder(runs, "gate-data").glob(f"*/{MANIFEST_NAME}"):
        try:
            manifest = read_manifest(path)
        except ManifestError:
            continue  # a verdict that cannot be read is no verdict: training is refused for want of one
        if any(ref.role == "dataset" and ref.identity == wanted for ref in manifest.inputs):
            found.append((manifest.provenance.started, path))
    return max(found)[1] if found else None


def data_verdict_of(project: Project, dataset: Path) -> Path | None:
    """The verdict that training rests on: this config's own, else the newest of any config on the same dataset.

    A config's own verdict wins whenever it was made: a later pass under easier thresholds must not hide its failure.
    """
    own = data_gate_stage(project, dataset).folder / MANIFEST_NAME
    return own if own.is_file() else find_data_verdict(project.runs, dataset)


def train_stage(project: Project, dataset: Path, data_verdict: Path | None, *, notes: Sequence[str] = ()) -> Stage:
    """What training would make of a dataset with this config; it finds the adapter of an earlier run.

    Args:
        project: the config.
        dataset: manifest of the curated dataset.
        data_verdict: manifest of its data verdict; None trains without one.
        notes: what provenance must say about this run.
    """
    config = project.config.train
    folder = inputs_from(project.runs, STAGE)
    model_folder = find_model_folder(config.base_model, project.root)
    model_folder = model_folder or ensure_base_model(config.base_model, project.root)
    verdicts = () if data_verdict is None else (input_stage("data_verdict", data_verdict, folder),)
    rewards = [input_file("reward", path, folder) for path in reward_files(config.rewards, project.root)]
    models = base_model_inputs(model_folder, folder)
    return Stage(
        stage=STAGE,
        name=project.config.name,
        config=config.model_dump(mode="json", exclude=NOT_OF_THE_RESULT) | _shared(),
        config_given=project.given.get("train") or {},
        inputs=(input_stage("dataset", dataset, folder), *verdicts, *models, *rewards),
        code=code_digest(["schemas", "curate", "train"]),
        root=project.runs,
        packages=PACKAGES,
        seeds={"train": config.seed},
        notes=tuple(notes),
    )


def train(project: Project, dataset: Path, view: View, *, allow_ungated: bool = False) -> Finished:
    """Train on a curated dataset, or return what an equal run made.

    Args:
        project: the config.
        dataset: manifest of the curated dataset.
        view: where progress is shown.
        allow_ungated: train although the data verdict is missing or not a pass; provenance says so.

    Raises:
        ManifestError: the dataset, the verdict or the base model does not hash to its manifest.
        UserError: the data did not pass its gate, rows cannot be trained, the config does not fit the model, or
            training diverged.
    """
    stage, prepared = _ready(project, dataset, allow_ungated)
    if prepared is None:
        return run_stage(stage, lambda folder: {})
    try:
        return run_stage(
            stage,
            lambda folder: _fill_or_clear(folder, project, prepared, view),
            resume=True,
            rehash=True,
            device=device_class,
        )
    except KeyboardInterrupt:
        sys.stderr.write(_what_is_kept(stage))
        raise


def assist(project: Project, dataset: Path, *, allow_ungated: bool = False) -> None:
    """Train beside the main process, which alone writes the result.

    Args: as `train`; so are the errors.
    """
    from train.monitor import SilentView

    stage, prepared = _ready(project, dataset, allow_ungated)
    if prepared is not None:
        _fill(stage.folder.with_name(stage.folder.name + ".partial"), project, prepared, SilentView())


def _ready(project: Project, dataset: Path, allow_ungated: bool) -> tuple[Stage, Prepared | None]:
    """The stage with all that is known before weights are loaded; null where it is finished."""
    require_packages(PACKAGES)
    dataset = manifest_path(dataset)
    _, dataset_folder = open_stage(dataset, "curate")
    verdict = data_verdict_of(project, dataset)
    notes = gate_notes(verdict, dataset, allow_ungated)
    model_folder = ensure_base_model(project.config.train.base_model, project.root)
    stage = train_stage(project, dataset, verdict, notes=notes)
    return stage, None if stage.folder.exists() else prepare(project, dataset_folder, model_folder)


def trained_files(manifest: Manifest) -> dict[str, str]:
    """Files of the adapter, or of the fully tuned model, that a train stage published -> sha256."""
    return {file.path: file.sha256 for file in manifest.files if file.path.startswith((f"{ADAPTER}/", f"{MODEL}/"))}


def _shared() -> dict[str, int]:
    """Several processes draw larger batches, which is another training."""
    return {"processes": processes()} if processes() > 1 else {}


def _what_is_kept(stage: Stage) -> str:
    from train.checkpoints import latest, step_of

    checkpoint = latest(stage.folder.with_name(stage.folder.name + ".partial") / CHECKPOINTS)
    if checkpoint is None:
        return "training stopped before its first checkpoint; the same command starts it again\n"
    return f"training stopped; the same command goes on after step {step_of(checkpoint)}\n"


def require_packages(packages: Sequence[str]) -> None:
    """Refuse to start without what the extra `train` installs.

    Raises:
        MissingExtra: naming the first package that is missing.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise MissingExtra("train", package)


def gate_notes(verdict: Path | None, dataset: Path, allow_ungated: bool) -> tuple[str, ...]:
    """What provenance says about the data gate; refuses data that did not pass it."""
    if verdict is None:
        state, summary = "missing", "no verdict names this dataset"
    else:
        judged = _read_verdict(verdict)
        if judged.outcome is Outcome.PASS:
            return ()
        state, summary = judged.outcome.value, judged.summary
    if not allow_ungated:
        raise UserError(
            "this dataset has not passed the data gate",
            where=str(verdict or dataset),
            found=f"verdict {state}: {summary}",
            expected="verdict pass",
            help="run `assay gate data` and repair what it names; `assay train --allow-ungated` trains all the same",
        )
    return (f"ungated: trained with --allow-ungated, data verdict {state}",)


def _read_verdict(path: Path) -> Verdict:
    _, folder = open_stage(path, "gate-data")
    try:
        return Verdict.model_validate_json((folder / VERDICT).read_bytes())
    except (OSError, ValidationError) as error:
        raise UserError(
            "the data verdict cannot be read",
            where=str(folder / VERDICT),
            found=str(error).splitlines()[0],
            help="run `assay gate data` again",
        ) from error


def _fill_or_clear(folder: Path, project: Project, prepared: Prepared, view: View) -> dict[str, int]:
    """Fill the folder; after an error, keep it only if there is something to go on with.

    A training that diverged would diverge again. One that met a full disk goes on from its last checkpoint.
    """
    from train.adapter import TrainingDiverged
    from train.checkpoints import latest

    try:
        return _fill(folder, project, prepared, view)
    except (AssayError, OSError) as error:
        if isinstance(error, TrainingDiverged) or latest(folder / CHECKPOINTS) is None:
            shutil.rmtree(folder)
        raise


def _fill(folder: Path, project: Project, prepared: Prepared, view: View) -> dict[str, int]:
    from train.adapter import publish_adapter, publish_full
    from train.trainer import Job
    from train.training import train_model

    wait_for_all()  # the folder is there
    config = project.config.train
    steps = steps_of(config, len(prepared.examples))
    sampled = [prepared.pool[k] for numbers in prepared.samples.values() for k in numbers]
    job = Job(
        settings=config,
        root=project.root,
        model_folder=prepared.model_folder,
        pad_token_id=prepared.supervisor.pad_token_id,
        rows=prepared.rows,
        examples=prepared.examples,
        unseen=prepared.unseen,
        samples=prepared.samples,
        watch_steps=watch_steps(config, steps, prepared.examples, sampled),
    )
    checkpoint = train_model(job, folder / CHECKPOINTS, folder / METRICS, view)
    if not is_main_process():
        return {}
    if config.method == "full":
        parameters = publish_full(checkpoint, folder / MODEL, prepared.model_folder)
    else:
        parameters = publish_adapter(checkpoint, folder / ADAPTER, config.base_model)
    counts = _write_ledger(folder, prepared, config, steps, step_of(checkpoint))
    _write_trained_rows(folder / TRAINED_ROWS, prepared, config)
    shutil.rmtree(folder / CHECKPOINTS)
    return counts | {"trainable_parameters": parameters}


def steps_of(config: TrainConfig, examples: int) -> int:
    """Optimiser steps of a whole run, unless it stops early."""
    from train.trainer import steps_per_epoch

    return steps_per_epoch(config, examples) * config.epochs


def _write_ledger(folder: Path, prepared: Prepared, config: TrainConfig, steps: int, published: int) -> dict[str, int]:
    from train.monitor import read_metrics
    from train.training import ROLLBACKS

    counted = prepared.ledger
    taken = max(record["step"] for record in read_metrics(folder / METRICS))
    labels = Counter(row.label for row in prepared.chosen if row.label is not None)
    rollbacks = folder / CHECKPOINTS / ROLLBACKS
    record = {
        "schema": "assay/train-ledger/2",
        "method": config.method,
        "rows_in": prepared.rows_in_split,
        "rows_not_chosen": prepared.rows_in_split - counted.rows,
        "rows_trained": counted.rows,
        "rows_without_supervised_token": 0,  # such a row stops the run before it starts
        "canaries": len(prepared.examples) - counted.examples,
        "canary_rows": _canary_rows(prepared),
        "epochs": config.epochs,
        "steps_planned": steps,
        "steps": taken,
        "published_step": published,
        "rollbacks": json.loads(rollbacks.read_bytes()) if rollbacks.is_file() else [],
        "per_epoch": dataclasses.asdict(counted),
        "labels": dict(sorted(labels.items())),
        "held_out": dataclasses.asdict(TokenLedger.of(prepared.held_out)),
    }
    write_atomic(folder / LEDGER, json.dumps(record, indent=1, ensure_ascii=False).encode("utf-8", "replace") + b"\n")
    return {
        "rows_in": prepared.rows_in_split,
        "rows_trained": counted.rows,
        "steps": taken,
        "published_step": published,
        "tokens": counted.tokens,
        "supervised_tokens": counted.supervised_tokens,
        "truncated_rows": counted.truncated_rows,
    }


def _canary_rows(prepared: Prepared) -> dict[str, dict[str, int]]:
    """Canary -> how often an epoch holds it, and how many of its tokens carry loss or were cut, each time."""
    found: dict[str, dict[str, int]] = {}
    for example in prepared.examples:
        if example.row >= len(prepared.chosen):
            entry = found.setdefault(prepared.rows[example.row].row_id, {"copies": 0})
            entry["copies"] += 1
            entry |= {"supervised_tokens": example.supervised_tokens, "truncated_tokens": example.truncated_tokens}
    return found


def _write_trained_rows(path: Path, prepared: Prepared, config: TrainConfig) -> None:
    """Which rows were trained, in the order of the first epoch; a long text stands where its first piece does."""
    from train.trainer import rows_per_step

    examples = prepared.examples
    order = epoch_order([example.tokens for example in examples], rows_per_step(config), config.seed, 0)
    by_row: dict[int, list[Example]] = {}
    for k in order:
        by_row.setdefault(examples[k].row, []).append(examples[k])
    groups = [(prepared.chosen[row].row_id, made) for row, made in by_row.items() if row < len(prepared.chosen)]
    frame = pl.DataFrame(
        {
            "row_id": [row_id for row_id, _ in groups],
            "order": range(len(groups)),
            "tokens": [sum(example.tokens for example in made) for _, made in groups],
            "supervised_tokens": [sum(example.supervised_tokens for example in made) for _, made in groups],
            "truncated_tokens": [sum(example.truncated_tokens for example in made) for _, made in groups],
        },
        schema_overrides={"order": pl.Int64, "tokens": pl.Int64, "supervised_tokens": pl.Int64},
    )
    frame.write_parquet(path)
