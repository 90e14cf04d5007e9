"""What a config would take and do, before anything is spent: rows, memory, time, cost, effects, what is reused."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from curate.configfile import Project
from curate.dataset import open_dataset
from curate.gate import VERDICT, data_gate_stage
from curate.gate_checks import check_detectable_effects
from evals.run import evals_stage
from schemas.errors import UserError
from schemas.manifest import MANIFEST_NAME, open_stage
from schemas.plan import (
    Plan,
    PlannedBatch,
    PlannedCost,
    PlannedDevice,
    PlannedMemory,
    PlannedParameters,
    PlannedRows,
    PlannedStage,
    PlannedTime,
)
from schemas.progress import SILENT, Progress
from schemas.stage import Stage
from schemas.train_config import TrainConfig
from schemas.verdict import Check, Outcome, Verdict, combine
from train.base_model import ensure_base_model
from train.calibration import calibrate, run_time
from train.checkpoints import latest, step_of
from train.prepare import Prepared, prepare
from train.resources import (
    Device,
    Memory,
    StepModel,
    batch_shape,
    batches_of,
    fitting_batch,
    full_length_shape,
    longest_rows_shape,
    run_memory,
    this_device,
)
from train.run import CHECKPOINTS, data_verdict_of, steps_of, train_stage
from train.shapes import BatchShape

GIB = 1 << 30
SECONDS_OF_HOUR = 3600


def plan_run(project: Project, dataset: Path, *, calibrated: bool = True, progress: Progress = SILENT) -> Plan:
    """Plan training and evaluation of a curated dataset.

    Args:
        project: the config.
        dataset: manifest of the dataset.
        calibrated: time a few real optimiser steps; without, there is no time and no cost.
        progress: where it is shown.

    Raises:
        UserError: what training would refuse as well: rows that cannot be trained, settings that do not fit the model
            or this machine.
        ManifestError: the dataset does not hash to its manifest.
    """
    _, folder = open_stage(dataset, "curate")
    settings = project.config.train
    model_folder = ensure_base_model(settings.base_model, project.root)
    progress.begin("tokens")
    prepared = prepare(project, folder, model_folder)
    device = this_device(settings)
    model = StepModel(model_folder, settings, device)
    progress.begin("memory")
    memory, memory_check = _memory(model, prepared, settings)
    stages, gate_check = _stages(project, dataset)
    trained = next(stage for stage in stages if stage.stage == "train").state == "finished"
    time, note = None, "not timed (--no-calibrate): there is no estimate of time and cost"
    if trained:
        note = "nothing to train: an equal run is finished"
    elif memory_check.outcome is Outcome.FAIL:
        note = "not timed: the batch does not fit into the memory that is free"
    elif calibrated:
        progress.begin("a few optimiser steps")
        time, note = _time(project, prepared)
    checks = (memory_check, gate_check, *check_detectable_effects(project, open_dataset(dataset)), *_extras())
    counts = model.parameters
    return Plan(
        name=project.config.name,
        method=settings.method,
        base_model=settings.base_model,
        device=PlannedDevice(name=device.name, dtype=str(device.dtype).removeprefix("torch."), free_bytes=device.free),
        parameters=PlannedParameters(base=counts.base, trained=counts.trainable, adapter=counts.adapter),
        rows=_rows(prepared, settings),
        memory=memory,
        time=time,
        time_note=note,
        cost=_cost(time, settings.price_per_hour),
        stages=stages,
        checks=checks,
        outcome=combine(check.outcome for check in checks),
    )


def _rows(prepared: Prepared, settings: TrainConfig) -> PlannedRows:
    ledger = prepared.ledger
    batches = [batch_shape(batch, settings) for batch in batches_of(prepared.examples, settings, 0)]
    return PlannedRows(
        in_split=prepared.rows_in_split,
        not_chosen=prepared.rows_in_split - ledger.rows,
        trained=ledger.rows,
        truncated=ledger.truncated_rows,
        truncated_tokens=ledger.truncated_tokens,
        tokens=ledger.tokens,
        supervised_tokens=ledger.supervised_tokens,
        padded_tokens=sum(shape.padded_tokens for shape in batches),
        epochs=settings.epochs,
        steps=steps_of(settings, len(prepared.examples)),
    )


# --------------------------------------------------------------------------------------------------------- memory


def _memory(model: StepModel, prepared: Prepared, settings: TrainConfig) -> tuple[PlannedMemory | None, Check]:
    examples = prepared.examples

    def of_longest(size: int) -> int:
        return model.memory(longest_rows_shape(examples, settings, size)).total

    def full_length(size: int) -> BatchShape:
        return full_length_shape(examples, settings.model_copy(update={"batch_size": size}))

    def of_full_length(size: int) -> int:
        return model.memory(full_length(size)).total

    try:
        of_run = run_memory(model, examples, settings)
        at_most = full_length(settings.batch_size)
        most = len(examples) * (settings.generations if settings.method == "grpo" else 1)
        planned = PlannedMemory(
            longest=_planned(*of_run, _fitting(of_longest, settings, model.device, most)),
            full_length=_planned(at_most, model.memory(at_most), _fitting(of_full_length, settings, model.device)),
        )
    except UserError as error:
        problem = error.problems[0]
        unknown = f"{problem.what}: {problem.found}"
        return None, Check(name="memory", outcome=Outcome.INCONCLUSIVE, message=unknown, help=problem.help)
    return planned, _memory_check(planned.longest, model.device, settings)


def _fitting(need: Callable[[int], int], settings: TrainConfig, device: Device, most: int | None = None) -> int | None:
    unit = settings.generations if settings.method == "grpo" else 1
    return None if device.free is None else fitting_batch(need, device.free, unit, most)


def _planned(shape: BatchShape, memory: Memory, fitting: int | None) -> PlannedBatch:
    return PlannedBatch(
        sequences=shape.rows,
        tokens=shape.tokens,
        parts=memory.parts,
        overhead=memory.overhead,
        tensors=memory.tensors,
        total=memory.total,
        fitting=fitting,
    )


def _memory_check(batch: PlannedBatch, device: Device, settings: TrainConfig) -> Check:
    needed = f"training needs {batch.total / GIB:.2f} GiB"
    if device.free is None:
        outcome, message = Outcome.INCONCLUSIVE, f"{needed}; this machine does not say how much is free"
    else:
        outcome = Outcome.PASS if batch.total <= device.free else Outcome.FAIL
        message = f"{needed}, {device.free / GIB:.2f} GiB are free"
    advice = "free memory, or use a larger machine"
    if batch.fitting:
        kept = settings.batch_size * settings.gradient_accumulation / batch.fitting
        advice = f"lower train.batch_size to {batch.fitting}, with train.gradient_accumulation {max(1, round(kept))}"
    elif not settings.gradient_checkpointing:
        advice = "set train.gradient_checkpointing, or use a larger machine"
    return Check(
        name="memory",
        outcome=outcome,
        message=message,
        measured={"total_bytes": batch.total, "free_bytes": device.free, "fitting_batch_size": batch.fitting},
        required={"batch_size": settings.batch_size},
        help="" if outcome is Outcome.PASS else advice,
    )


# ------------------------------------------------------------------------------------------------- time and cost


def _time(project: Project, prepared: Prepared) -> tuple[PlannedTime, str]:
    settings = project.config.train
    calibration = calibrate(prepared, settings, project.root)
    found = run_time(calibration, prepared, settings)
    planned = PlannedTime(
        seconds=round(found.total, 3),
        low=round(found.low, 3),
        high=round(found.high, 3),
        start=round(found.start, 3),
        training=round(found.training, 3),
        watching=round(found.watching, 3),
        checkpoints=round(found.checkpoints, 3),
        timed_steps=calibration.timed,
    )
    return planned, f"from {calibration.timed} optimiser steps of this run that were timed on this machine"


def _cost(time: PlannedTime | None, price: float | None) -> PlannedCost | None:
    if time is None or price is None:
        return None
    cost, low, high = (round(seconds / SECONDS_OF_HOUR * price, 6) for seconds in (time.seconds, time.low, time.high))
    return PlannedCost(price_per_hour=price, cost=cost, low=low, high=high)


# --------------------------------------------------------------------------------------------- what is there already


@dataclass(frozen=True)
class _Found:
    """A stage of this config, and what is on the disk of it."""

    stage: Stage

    @property
    def manifest(self) -> Path:
        return self.stage.folder / MANIFEST_NAME

    def state(self, finished: str, to_do: str) -> PlannedStage:
        """It as part of the plan, in the words for each case."""
        name, done = self.stage.stage, self.manifest.is_file()
        if not done and (step := self.resumes_after()) is not None:
            return PlannedStage(stage=name, state="begun", detail=f"goes on after step {step}", path=None)
        path = str(self.manifest) if done else None
        return PlannedStage(
            stage=name, state="finished" if done else "to do", detail=finished if done else to_do, path=path
        )

    def resumes_after(self) -> int | None:
        """The step of the last complete checkpoint of a run that was stopped."""
        partial = self.stage.folder.with_name(self.stage.folder.name + ".partial")
        checkpoint = latest(partial / CHECKPOINTS)
        return None if checkpoint is None else step_of(checkpoint)


def _stages(project: Project, dataset: Path) -> tuple[tuple[PlannedStage, ...], Check]:
    """The four stages, and what the data gate said."""
    curated = PlannedStage(stage="curate", state="finished", detail="its rows are used", path=str(dataset))
    gate = _Found(data_gate_stage(project, dataset))
    verdict = data_verdict_of(project, dataset)
    training = _Found(train_stage(project, dataset, verdict))
    trained = training.state("is returned as it is; nothing is trained", "would be trained")
    unscored = PlannedStage(stage="evals", state="to do", detail="would run after training", path=None)
    if trained.state == "finished":
        scoring = _Found(evals_stage(project, training.manifest))
        unscored = scoring.state("is returned as it is; nothing is scored", "would be run")
    stages = (curated, gate.state("is returned as it is", "would judge the dataset"), trained, unscored)
    return stages, _data_gate(verdict)


def _data_gate(manifest: Path | None) -> Check:
    if manifest is None:
        return Check(
            name="data-gate",
            outcome=Outcome.NOT_APPLICABLE,
            message="no verdict names this dataset yet; training asks for one",
            help="run `assay gate data`",
        )
    _, folder = open_stage(manifest, "gate-data")
    verdict = Verdict.model_validate_json((folder / VERDICT).read_bytes())
    open_points = [check.name for check in verdict.checks if check.outcome is Outcome.INCONCLUSIVE]
    passed = verdict.outcome is Outcome.PASS
    return Check(
        name="data-gate",
        outcome=verdict.outcome,
        message=verdict.summary,
        measured={"inconclusive": open_points},
        help="" if passed else "training refuses this dataset; `assay gate data` says what is missing",
    )


def _extras() -> list[Check]:
    """What `assay evals` needs and does not find."""
    missing = [name for name in ("lm_eval", "scipy", "sklearn") if importlib.util.find_spec(name) is None]
    if not missing:
        return []
    return [
        Check(
            name="evals-extra",
            outcome=Outcome.INCONCLUSIVE,
            message=f"`assay evals` cannot run here: {', '.join(missing)} is not installed",
            help="pip install 'assay[evals]'",
        )
    ]
