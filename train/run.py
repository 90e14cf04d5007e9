"""The train stage: what must hold before weights are loaded, and what is published afterwards."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import math
import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl
from pydantic import ValidationError

from curate.configfile import Project
from curate.gate import data_gate_stage
from curate.load_supervisor import load_supervisor
from curate.model_files import base_model_inputs, find_model_folder
from curate.supervision import Supervised, Supervisor
from schemas.atomic import write_atomic
from schemas.errors import AssayError, ManifestError, MissingExtra, UserError
from schemas.manifest import MANIFEST_NAME, input_stage, manifest_path, open_stage, read_manifest
from schemas.stage import Finished, Stage, code_digest, inputs_from, run_stage, stage_folder
from schemas.verdict import Outcome, Verdict
from train.base_model import ensure_base_model
from train.batches import epoch_order
from train.rows import SplitRow, TokenLedger, choose_rows, read_split, supervise

if TYPE_CHECKING:
    from train.monitor import View

STAGE = "train"
ADAPTER = "adapter"
CHECKPOINTS = "checkpoints"
LEDGER = "ledger.json"
METRICS = "metrics.jsonl"
TRAINED_ROWS = "trained_rows.parquet"
VERDICT = "verdict.json"

HELD_OUT_ROWS = 16
HELD_OUT_SHARE = 0.1
"""Most of the training's own work that measuring the held-out loss may cost."""
FORWARD_SHARE = 2 / 3
"""Work of a token that is only measured, against one that is trained: forward, against forward and backward."""
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
    return Stage(
        stage=STAGE,
        name=project.config.name,
        config=config.model_dump(mode="json"),
        config_given=project.given.get("train") or {},
        inputs=(input_stage("dataset", dataset, folder), *verdicts, *base_model_inputs(model_folder, folder)),
        code=code_digest(["schemas", "curate", "train"]),
        root=project.runs,
        packages=PACKAGES,
        seeds={"train": config.seed},
        notes=tuple(notes),
    )


def train(project: Project, dataset: Path, view: View, *, allow_ungated: bool = False) -> Finished:
    """Train an adapter on a curated dataset, or return the one that an equal run made.

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
    _require_extra()
    dataset = manifest_path(dataset)
    _, dataset_folder = open_stage(dataset, "curate")
    verdict = data_verdict_of(project, dataset)
    notes = _gate_notes(verdict, dataset, allow_ungated)
    model_folder = ensure_base_model(project.config.train.base_model, project.root)
    stage = train_stage(project, dataset, verdict, notes=notes)
    if stage.folder.exists():
        return run_stage(stage, lambda folder: {})
    prepared = prepare(project, dataset_folder, model_folder)
    try:
        return run_stage(stage, lambda folder: _fill_or_clear(folder, project, prepared, view), resume=True)
    except KeyboardInterrupt:
        sys.stderr.write(_what_is_kept(stage))
        raise


def _what_is_kept(stage: Stage) -> str:
    from train.checkpoints import latest, step_of

    checkpoint = latest(stage.folder.with_name(stage.folder.name + ".partial") / CHECKPOINTS)
    if checkpoint is None:
        return "training stopped before its first checkpoint; the same command starts it again\n"
    return f"training stopped; the same command goes on after step {step_of(checkpoint)}\n"


def _require_extra() -> None:
    for package in PACKAGES:
        if importlib.util.find_spec(package) is None:
            raise MissingExtra("train", package)


def _gate_notes(verdict: Path | None, dataset: Path, allow_ungated: bool) -> tuple[str, ...]:
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


@dataclass(frozen=True)
class Prepared:
    """Everything that is known before weights are loaded."""

    model_folder: Path
    supervisor: Supervisor
    rows_in_split: int
    chosen: list[SplitRow]
    rows: list[Supervised]
    held_out: list[Supervised]


def prepare(project: Project, dataset_folder: Path, model_folder: Path) -> Prepared:
    """Choose the rows, make their tokens, and check the config against the model, without loading weights.

    Raises:
        UserError: an empty split, rows that cannot be trained, or settings that do not fit the model.
    """
    from train.adapter import empty_model, lora_config

    config = project.config.train
    supervisor = load_supervisor(model_folder, config.max_length)
    model = empty_model(model_folder)
    lora_config(config.lora, model)
    text_config = model.config.get_text_config()
    _check_length(config.max_length, text_config)
    everything = read_split(dataset_folder, "train")
    if not everything:
        raise UserError(
            "the train split is empty",
            where=str(dataset_folder / "data" / "train.parquet"),
            found="0 rows",
            help="look at dropped.parquet beside it, or change curate.split",
        )
    chosen = choose_rows(everything, config.max_examples, config.seed)
    prepared = Prepared(
        model_folder=model_folder,
        supervisor=supervisor,
        rows_in_split=len(everything),
        chosen=chosen,
        rows=supervise(supervisor, chosen, "train"),
        held_out=_held_out_sample(dataset_folder, supervisor, config.seed),
    )
    _check_vocabulary(prepared, text_config)
    return prepared


def _held_out_sample(dataset_folder: Path, supervisor: Supervisor, seed: int) -> list[Supervised]:
    """A fixed small sample of the validation split, to watch training with; the test split stays unseen."""
    if not (dataset_folder / "data" / "validation.parquet").is_file():
        return []
    rows = choose_rows(read_split(dataset_folder, "validation"), HELD_OUT_ROWS, seed)
    results = supervisor.encode_rows([row.messages for row in rows], [row.tools for row in rows])
    return [result for result in results if isinstance(result, Supervised)]


def _check_length(max_length: int, model_config: object) -> None:
    context = getattr(model_config, "max_position_embeddings", None)
    if isinstance(context, int) and max_length > context:
        raise UserError(
            "rows may be longer than the base model can read",
            where="train.max_length",
            found=str(max_length),
            expected=f"at most {context} tokens",
        )


def _check_vocabulary(prepared: Prepared, model_config: object) -> None:
    known = getattr(model_config, "vocab_size", None)
    highest = max(max(row.input_ids) for row in (*prepared.rows, *prepared.held_out))
    if isinstance(known, int) and highest >= known:
        raise UserError(
            "the tokenizer has tokens that the base model does not know",
            where=str(prepared.model_folder),
            found=f"token {highest} in the rows, and a model of {known} tokens",
            expected="the tokenizer that the model was trained with",
            help="restore tokenizer.json, or resize the model's embeddings and save it again",
        )


def held_out_steps(steps: int, trained_tokens: int, sample_tokens: int) -> frozenset[int]:
    """After which steps the held-out loss is measured: before the first, after the last, and evenly between if cheap.

    Args:
        steps: optimiser steps of the run.
        trained_tokens: tokens of all rows over all epochs.
        sample_tokens: tokens of the held-out sample.
    """
    if sample_tokens == 0:
        return frozenset()
    affordable = int(HELD_OUT_SHARE * trained_tokens / (FORWARD_SHARE * sample_tokens))
    points = min(max(affordable, 2), steps + 1)
    return frozenset(round(k * steps / (points - 1)) for k in range(points))


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
    from train.adapter import load_weights, lora_config, save_adapter
    from train.sft import Job, train_adapter

    config, ledger = project.config.train, TokenLedger.of(prepared.rows)
    steps = math.ceil(ledger.rows / config.batch_size) * config.epochs
    sample = sum(len(row.input_ids) for row in prepared.held_out)
    model = load_weights(prepared.model_folder)
    job = Job(
        settings=config,
        model_folder=prepared.model_folder,
        model=model,
        lora=lora_config(config.lora, model),
        pad_token_id=prepared.supervisor.pad_token_id,
        rows=prepared.rows,
        held_out=prepared.held_out,
        held_out_steps=held_out_steps(steps, ledger.tokens * config.epochs, sample),
    )
    tuned = train_adapter(job, folder / CHECKPOINTS, folder / METRICS, view)
    save_adapter(tuned, folder / ADAPTER, config.base_model)
    _write_ledger(folder / LEDGER, prepared, ledger, config.epochs, steps)
    _write_trained_rows(folder / TRAINED_ROWS, prepared, config.batch_size, config.seed)
    shutil.rmtree(folder / CHECKPOINTS)
    return {
        "rows_in": prepared.rows_in_split,
        "rows_trained": ledger.rows,
        "steps": steps,
        "tokens": ledger.tokens,
        "supervised_tokens": ledger.supervised_tokens,
        "truncated_rows": ledger.truncated_rows,
        "trainable_parameters": sum(w.numel() for w in tuned.parameters() if w.requires_grad),
    }


def _write_ledger(path: Path, prepared: Prepared, ledger: TokenLedger, epochs: int, steps: int) -> None:
    labels = Counter(row.label for row in prepared.chosen if row.label is not None)
    record = {
        "schema": "assay/train-ledger/1",
        "rows_in": prepared.rows_in_split,
        "rows_not_chosen": prepared.rows_in_split - ledger.rows,
        "rows_trained": ledger.rows,
        "rows_without_supervised_token": 0,  # such a row stops the run before it starts
        "epochs": epochs,
        "steps": steps,
        "per_epoch": dataclasses.asdict(ledger),
        "labels": dict(sorted(labels.items())),
        "held_out": dataclasses.asdict(TokenLedger.of(prepared.held_out)),
    }
    write_atomic(path, json.dumps(record, indent=1, ensure_ascii=False).encode("utf-8", "replace") + b"\n")


def _write_trained_rows(path: Path, prepared: Prepared, batch_size: int, seed: int) -> None:
    """Which rows were trained, in the order of the first epoch."""
    order = epoch_order([len(row.input_ids) for row in prepared.rows], batch_size, seed, 0)
    frame = pl.DataFrame(
        {
            "row_id": [prepared.chosen[k].row_id for k in order],
            "order": range(len(order)),
            "tokens": [len(prepared.rows[k].input_ids) for k in order],
            "supervised_tokens": [prepared.rows[k].supervised_tokens for k in order],
            "truncated_tokens": [prepared.rows[k].truncated_tokens for k in order],
        },
        schema_overrides={"order": pl.Int64, "tokens": pl.Int64, "supervised_tokens": pl.Int64},
    )
    frame.write_parquet(path)
