"""The sweep stage: ordinary trainings at settings that a search suggests, and the best that the watch passes."""

from __future__ import annotations

import dataclasses
import itertools
import json
import math
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from curate.configfile import Project
from schemas.atomic import write_atomic
from schemas.base import canonical_json
from schemas.errors import ConfigError, Problem, UserError
from schemas.manifest import manifest_path, open_stage
from schemas.stage import Finished, Stage, run_stage
from schemas.sweep_config import METHODS, with_settings, with_values
from schemas.sweep_results import Trial
from schemas.train_config import TrainConfig
from train.base_model import ensure_base_model
from train.machine import device_class
from train.monitor import View, read_metrics
from train.prepare import prepare
from train.run import (
    LEDGER,
    METRICS,
    NOT_OF_THE_RESULT,
    PACKAGES,
    data_verdict_of,
    gate_notes,
    require_packages,
    train,
    train_stage,
)
from train.sweep_text import best_text, progress_line, settings_text

if TYPE_CHECKING:
    from train.validation_losses import ValidationRows

STAGE = "sweep"
RESULTS = "sweep.json"
BEST = "best.yaml"
LOSSES = "validation"
JOURNAL = "study.jsonl"
MAX_CORNERS = 20_000
Curve = list[tuple[float, float]]


class Pruned(Exception):
    """A trial that is given up while it trains."""


class TrialView:
    """Passes progress on, and stops a trial that has become hopeless.

    Args:
        shown: where progress is shown.
        metrics: `metrics.jsonl` of the training, whose earlier measurements may be of a process that was killed.
        epochs: of the trial.
        is_hopeless: says so of a curve.
    """

    def __init__(self, shown: View, metrics: Path, epochs: int, is_hopeless: Callable[[Curve], bool]) -> None:
        self._shown = shown
        self._metrics = metrics
        self._epochs = epochs
        self._is_hopeless = is_hopeless
        self.curve: Curve = []

    def begin(self, step: int, steps: int, tokens_left: int) -> None:
        """See `View`."""
        self._steps = steps
        self._shown.begin(step, steps, tokens_left)

    def advance(self, step: int, tokens: int, loss: float) -> None:
        """See `View`."""
        self._shown.advance(step, tokens, loss)

    def measured(self, step: int, found: Mapping[str, float]) -> None:
        """See `View`; the last measurement stops nothing, since the training is then paid for."""
        self._shown.measured(step, found)
        held_out = [*held_out_losses(self._metrics), (step, found["held_out_loss"])]
        self.curve = curve_of(held_out, self._steps, self._epochs)
        if step < self._steps and self._is_hopeless(self.curve):
            raise Pruned

    def say(self, text: str) -> None:
        """See `View`."""
        self._shown.say(text)

    def end(self) -> None:
        """See `View`."""
        self._shown.end()


def held_out_losses(metrics: Path) -> list[tuple[int, float]]:
    """Step and held-out loss of every measurement that a training has written down."""
    return [(one["step"], one["held_out_loss"]) for one in read_metrics(metrics) if "held_out_loss" in one]


def curve_of(held_out: Sequence[tuple[int, float]], steps: int, epochs: int) -> Curve:
    """Losses by epochs seen, which trials of other batch sizes have too."""
    return [(step * epochs / steps, loss) for step, loss in held_out]


def sweep_stage(project: Project, dataset: Path, verdict: Path | None, *, notes: Sequence[str] = ()) -> Stage:
    """What a sweep would make of a dataset with this config; it finds the result of an earlier one."""
    trained = train_stage(project, dataset, verdict, notes=notes)
    config = project.config
    searched = config.sweep.model_dump(mode="json")
    return dataclasses.replace(
        trained,
        stage=STAGE,
        config={"sweep": searched, "train": config.train.model_dump(mode="json", exclude=NOT_OF_THE_RESULT)},
        config_given={name: project.given[name] for name in ("sweep", "train") if name in project.given},
        packages=(*PACKAGES, "optuna"),
        seeds={"sweep": config.sweep.seed, "train": config.train.seed},
    )


def sweep(project: Project, dataset: Path, make_view: Callable[[], View], *, allow_ungated: bool = False) -> Finished:
    """Train at many settings and choose by the validation split, or return what an equal sweep found.

    Args:
        project: the config.
        dataset: manifest of the curated dataset.
        make_view: gives each trial a place to show its progress.
        allow_ungated: train although the data verdict is missing or not a pass; provenance says so.

    Raises:
        ConfigError: settings of the space are not valid, or do not go together.
        ManifestError: the dataset, the verdict or the base model does not hash to its manifest.
        UserError: as `train.run.train`, but for a trial that diverges or does not fit into a GPU's memory, which ends
            that trial alone.
    """
    require_packages((*PACKAGES, "optuna"))
    from train.validation_losses import read_validation

    dataset = manifest_path(dataset)
    _, dataset_folder = open_stage(dataset, "curate")
    verdict = data_verdict_of(project, dataset)
    notes = gate_notes(verdict, dataset, allow_ungated)
    corners = check_space(project)
    model_folder = ensure_base_model(project.config.train.base_model, project.root)
    stage = sweep_stage(project, dataset, verdict, notes=notes)
    if stage.folder.exists():
        return run_stage(stage, lambda folder: {})
    check_model(project, corners, dataset_folder, model_folder)
    trials = Trials(project, dataset, verdict, make_view, allow_ungated)
    searched = project.config.sweep
    validation = read_validation(
        dataset_folder, model_folder, project.config.train, searched.validation_rows, searched.seed
    )
    return run_stage(
        stage, lambda folder: trials.run(folder, model_folder, validation), resume=True, device=device_class
    )


def check_space(project: Project) -> list[TrainConfig]:
    """The config of every corner of the space.

    Raises:
        ConfigError: naming everything that does not go together.
    """
    config, where = project.config, f"{project.path}: sweep"
    space = config.sweep.space
    problems = []
    if config.train.method not in METHODS:
        expected = f"one of {', '.join(METHODS)}, whose validation loss is that of the rows' own tokens"
        problems.append(Problem("this method cannot be swept", where, config.train.method, expected))
    if config.train.method == "full" and (adapted := [name for name in space if name.startswith("lora.")]):
        help = "name a sweep.space without them"
        problems.append(Problem("method full trains no adapter", f"{where}.space", ", ".join(adapted), help=help))
    if config.train.watch.rows == 0:
        problems.append(
            Problem("a sweep chooses among runs that the watch has looked at", "train.watch.rows", "0", "above 0")
        )
    number = math.prod(len(setting.corners) for setting in space.values())
    if number > MAX_CORNERS:
        help = "give ranges instead of lists, or vary less"
        problems.append(
            Problem("the space has too many corners", where, f"{number:,}", f"at most {MAX_CORNERS:,}", help)
        )
    if problems:
        raise ConfigError(problems)
    corners: list[TrainConfig] = []
    faults: dict[str, dict[str, Any]] = {}
    for values in itertools.product(*(setting.corners for setting in space.values())):
        try:
            corners.append(with_settings(config.train, dict(zip(space, values, strict=True))))
        except ValidationError as error:
            for item in error.errors():
                faults.setdefault(str(item["msg"]), dict(zip(space, values, strict=True)))
    if faults:
        raise ConfigError([Problem(what, f"{where}.space", settings_text(at)) for what, at in faults.items()])
    return corners


def check_model(project: Project, corners: Sequence[TrainConfig], dataset_folder: Path, model_folder: Path) -> None:
    """Make sure that every corner of the space suits the base model, and that the rows can be trained.

    Raises:
        UserError: naming everything that does not suit.
    """
    from train.adapter import empty_model, lora_config
    from train.processes import processes

    if processes() > 1:
        raise UserError(
            "a sweep runs in one process",
            where="the command line",
            found=f"{processes()} processes",
            help="run `assay sweep` without `accelerate launch`; `assay train` takes several",
        )
    model = empty_model(model_folder)
    problems: dict[Problem, None] = {}
    for adapter in {canonical_json(one.lora.model_dump()): one.lora for one in corners}.values():
        try:
            lora_config(adapter, model)
        except UserError as error:
            problems |= dict.fromkeys(error.problems)
    if problems:
        raise ConfigError(list(problems))
    prepared = prepare(project, dataset_folder, model_folder)
    if not prepared.held_out:
        raise UserError(
            "there is nothing to choose by",
            where=str(dataset_folder / "data" / "validation.parquet"),
            found="no rows of the validation split that can be measured",
            help="raise curate.split.validation, and run `assay curate` again",
        )


class Trials:
    """Runs the trials of one sweep, one after the other."""

    def __init__(
        self, project: Project, dataset: Path, verdict: Path | None, make_view: Callable[[], View], allow_ungated: bool
    ) -> None:
        self._project = project
        self._dataset = dataset
        self._verdict = verdict
        self._make_view = make_view
        self._allow_ungated = allow_ungated
        self._max_gap = project.config.train.watch.max_gain_gap

    def run(self, folder: Path, model_folder: Path, validation: ValidationRows) -> dict[str, int]:
        """Run the trials that are still missing, and write the result."""
        from train.selection import judge
        from train.study import Search
        from train.validation_losses import read_losses

        config = self._project.config
        self._search = Search(folder / JOURNAL, config.sweep, config.train)
        done, total = self._search.trials(), config.sweep.trials
        began, before = time.monotonic(), len(done)
        try:
            while len(done) < total:
                trial = self._run_one(done, folder, model_folder, validation)
                self._search.add(trial, self._max_gap)
                done.append(trial)
                left = (time.monotonic() - began) / (len(done) - before) * (total - len(done))
                self._make_view().say(progress_line(trial, done, total, left))
        except KeyboardInterrupt:
            sys.stderr.write(f"{len(done)} of {total} trials are finished; the same command goes on from there\n")
            raise
        losses = {
            one.number: read_losses(losses_of(folder, one.number)) for one in done if one.folder and one.same_as is None
        }
        results = judge(done, losses, config.sweep.seed, self._max_gap)
        text = results.model_dump_json(indent=1, by_alias=True)
        write_atomic(folder / RESULTS, text.encode("utf-8") + b"\n")
        if results.winner is not None:
            write_atomic(folder / BEST, best_text(done[results.winner]).encode("utf-8"))
        (folder / JOURNAL).unlink()
        states = [trial.state for trial in done]
        return {"trials": total, **{state: states.count(state) for state in sorted(set(states))}}

    def _run_one(self, done: list[Trial], folder: Path, model_folder: Path, validation: ValidationRows) -> Trial:
        """The next trial; the same settings are not trained twice."""
        settings = self._search.next_settings()
        number, total = len(done), self._project.config.sweep.trials
        twin = next((one for one in done if one.settings == settings and one.same_as is None), None)
        if twin is not None:
            return twin.model_copy(update={"number": number, "same_as": twin.number})
        project = with_trial(self._project, settings)
        stage = train_stage(project, self._dataset, self._verdict)
        partial = stage.folder.with_name(stage.folder.name + ".partial")
        view = TrialView(self._make_view(), partial / METRICS, project.config.train.epochs, self._search.is_hopeless)
        view.say(f"trial {number} ({number + 1} of {total}): {settings_text(settings)}")
        trial = Trial(number=number, settings=settings, state="failed")
        try:
            finished = train(project, self._dataset, view, allow_ungated=self._allow_ungated)
        except Pruned:
            shutil.rmtree(partial)
            return trial.model_copy(update={"state": "pruned", "reason": prune_reason(view.curve), "curve": view.curve})
        except UserError as error:
            if not ends_the_trial_alone(error):
                raise
            shutil.rmtree(partial, ignore_errors=True)
            problem = error.problems[0]
            return trial.model_copy(update={"reason": f"{problem.what}: {problem.found}", "curve": view.curve})
        return self._measured(trial, finished, project.config.train, (folder, model_folder, validation))

    def _measured(
        self, trial: Trial, finished: Finished, config: TrainConfig, means: tuple[Path, Path, ValidationRows]
    ) -> Trial:
        """A training that ended, with its loss on the validation split and what the watch says of it."""
        from train.validation_losses import mean_of, measure_losses, write_losses

        folder, model_folder, validation = means
        held_out = held_out_losses(finished.folder / METRICS)
        ledger = json.loads((finished.folder / LEDGER).read_bytes())
        curve = curve_of(held_out, ledger["steps_planned"], config.epochs)
        for place in range(1, len(curve) + 1):  # as if it had not been trained before the sweep
            if held_out[place - 1][0] < ledger["steps_planned"] and self._search.is_hopeless(curve[:place]):
                reason, seen = prune_reason(curve[:place]), curve[:place]
                return trial.model_copy(update={"state": "pruned", "reason": reason, "curve": seen})
        found = measure_losses(finished.folder, model_folder, config, validation)
        if not math.isfinite(mean_of(found)):
            return trial.model_copy(update={"reason": "the validation loss is no finite number", "curve": curve})
        write_losses(losses_of(folder, trial.number), found)
        step = ledger["published_step"]
        gap = gain_gap_at(finished.folder / METRICS, step)
        rejected = gap > self._max_gap
        reason = f"gain gap {gap:.3f} above train.watch.max_gain_gap {self._max_gap:g}" if rejected else ""
        return trial.model_copy(
            update={
                "state": "rejected" if rejected else "passed",
                "reason": reason,
                "folder": finished.folder.relative_to(self._project.runs).as_posix(),
                "validation_loss": mean_of(found),
                "gain_gap": gap,
                "published_step": step,
                "curve": curve,
            }
        )


def losses_of(folder: Path, number: int) -> Path:
    """The file with the validation losses of one trial."""
    return folder / LOSSES / f"trial-{number:04d}.parquet"


def with_trial(project: Project, settings: Mapping[str, Any]) -> Project:
    """The project of one trial, which is what `assay train` makes of the same settings."""
    train_config = with_settings(project.config.train, settings)
    given = {**project.given, "train": with_values(project.given.get("train") or {}, settings)}
    return dataclasses.replace(project, config=project.config.model_copy(update={"train": train_config}), given=given)


def gain_gap_at(metrics: Path, step: int) -> float:
    """By how much trained rows had gained more than held-out rows, in nats a token, at the published step."""
    return float(next(one["gain_gap"] for one in read_metrics(metrics) if one["step"] == step and "gain_gap" in one))


def prune_reason(curve: Curve) -> str:
    """Why a trial was given up."""
    epochs, loss = curve[-1]
    return f"held-out loss {loss:.4f} after {epochs:.2g} epochs, above the median of the finished trials by then"


def ends_the_trial_alone(error: UserError) -> bool:
    """Whether another trial may do better: it diverged, or the accelerator's memory did not suffice."""
    import torch

    from train.adapter import TrainingDiverged

    return isinstance(error, TrainingDiverged) or isinstance(error.__cause__, torch.cuda.OutOfMemoryError)
