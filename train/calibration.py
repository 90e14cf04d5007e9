"""How long a run takes, from a few of its own steps: the same model, settings and batches, short and long ones."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import numpy.typing as npt

from schemas.train_config import GuardConfig, TrainConfig
from train.examples import Example
from train.prepare import Prepared, watch_steps
from train.resources import batch_shape, batches_of
from train.shapes import BatchShape
from train.trainer import Job, steps_per_epoch
from train.training import train_model

QUANTILES = (0.1, 0.5, 0.9, 1.0)
"""Of the batches by their padded tokens: which are timed."""
EPOCHS = 2
"""Passes over these batches."""
WARM_UP = 2
"""Steps that are not timed."""
LEAST_SPREAD = 0.1
"""Share by which a machine's speed differs from minute to minute at least."""


@dataclass(frozen=True)
class StepTimes:
    """Seconds of an optimiser step: `fixed + per_token x tokens + per_pair x (tokens x longest)`, padding included."""

    fixed: float
    per_token: float
    per_pair: float
    """Attention: each token with each of its sequence."""
    spread: float
    """Relative standard deviation of what was measured around this."""

    def seconds(self, shapes: Sequence[BatchShape]) -> float:
        """Of one optimiser step on batches of these shapes."""
        return float(_features(shapes) @ np.array([self.fixed, self.per_token, self.per_pair]))


@dataclass(frozen=True)
class Calibration:
    """What the steps at hand took."""

    steps: StepTimes
    start_s: float
    """Loading weights and making the trainer."""
    look_s: float
    """One measurement of the held-out and other samples; 0 where nothing is measured."""
    checkpoint_s: float
    timed: int
    """Optimiser steps that were timed."""


@dataclass(frozen=True)
class RunTime:
    """Seconds of a whole run, by part."""

    start: float
    training: float
    watching: float
    checkpoints: float
    spread: float
    """Share of the sum by which it may be off, to both sides."""

    @property
    def total(self) -> float:
        """The sum."""
        return self.start + self.training + self.watching + self.checkpoints

    @property
    def low(self) -> float:
        """What it takes at least, as far as the steps that were timed say."""
        return self.total * (1 - min(self.spread, 0.9))

    @property
    def high(self) -> float:
        """What it takes at most, likewise."""
        return self.total * (1 + self.spread)


@dataclass
class Stopwatch:
    """A view that notes when things happened."""

    clock: Callable[[], float] = time.perf_counter
    begun: float = 0.0
    looked: float = 0.0
    stepped: list[float] = field(default_factory=list)
    ended: float = 0.0

    def begin(self, step: int, steps: int, tokens_left: int) -> None:
        """Weights are loaded."""
        self.begun = self.looked = self.clock()

    def measured(self, step: int, found: Mapping[str, float]) -> None:
        """The samples were measured."""
        self.looked = self.clock()

    def advance(self, step: int, tokens: int, loss: float) -> None:
        """A step is done."""
        self.stepped.append(self.clock())

    def say(self, text: str) -> None:
        """Nothing."""

    def end(self) -> None:
        """The last checkpoint is written."""
        self.ended = self.clock()


def calibrate(
    prepared: Prepared, settings: TrainConfig, root: Path, clock: Callable[[], float] = time.perf_counter
) -> Calibration:
    """Take a few real optimiser steps, on batches of the run from short to long, and time them.

    Args:
        prepared: rows and tokens of the run.
        settings: of the run.
        root: folder of the config.
        clock: gives seconds.
    """
    chosen = timed_examples(prepared.examples, settings)
    short = settings.model_copy(
        update={
            "epochs": EPOCHS,
            "checkpoint_steps": 1 << 20,  # one is written at the end
            "keep": "last",
            "early_stopping": None,
            "report_to": [],
            "guard": GuardConfig(spike=None, rollbacks=0),
        }
    )
    pool = prepared.pool
    sampled = [pool[k] for numbers in prepared.samples.values() for k in numbers]
    samples: dict[str, list[int]] = {}
    for name, numbers in prepared.samples.items():
        first = len(chosen) + sum(map(len, samples.values()))
        samples[name] = list(range(first, first + len(numbers)))
    job = Job(
        settings=short,
        root=root,
        model_folder=prepared.model_folder,
        pad_token_id=prepared.supervisor.pad_token_id,
        rows=prepared.rows,
        examples=chosen,
        unseen=sampled,
        samples=samples,
        watch_steps=frozenset(),
    )
    watch = Stopwatch(clock)
    started = clock()
    with TemporaryDirectory(prefix="assay-plan-") as scratch:
        train_model(job, Path(scratch) / "checkpoints", Path(scratch) / "metrics.jsonl", watch)
    return _calibration(job, watch, started)


def _calibration(job: Job, watch: Stopwatch, started: float) -> Calibration:
    warm = min(WARM_UP, job.steps - 1)
    seconds = np.diff(np.array([watch.looked, *watch.stepped]))[warm:]
    shapes = [step for epoch in range(EPOCHS) for step in steps_of_epoch(job.examples, job.settings, epoch)]
    return Calibration(
        steps=fitted(shapes[warm:], seconds),
        start_s=watch.begun - started,
        look_s=watch.looked - watch.begun if job.samples else 0.0,
        checkpoint_s=watch.ended - watch.stepped[-1],
        timed=len(seconds),
    )


def timed_examples(examples: Sequence[Example], settings: TrainConfig) -> list[Example]:
    """Whole batches of an epoch, from short to long, enough for a few optimiser steps."""
    batches = batches_of(examples, settings, 0)
    full = [batch for batch in batches if len(batch) == len(batches[0])] or batches
    ordered = sorted(full, key=lambda batch: batch_shape(batch, settings).padded_tokens)
    each = settings.gradient_accumulation
    last = max(len(ordered) // each - 1, 0)
    steps = sorted({round(quantile * last) for quantile in QUANTILES})
    first = len(ordered) % each if len(ordered) > each else 0  # so that the longest is in a whole step
    numbers = [first + step * each + k for step in steps for k in range(each)]
    return [example for k in numbers if k < len(ordered) for example in ordered[k]]


def steps_of_epoch(examples: Sequence[Example], settings: TrainConfig, epoch: int) -> list[list[BatchShape]]:
    """The shapes of the batches of each optimiser step of an epoch."""
    shapes = [batch_shape(batch, settings) for batch in batches_of(examples, settings, epoch)]
    each, steps = settings.gradient_accumulation, steps_per_epoch(settings, len(examples))
    return [shapes[k * each : (k + 1) * each] for k in range(steps)]


def fitted(steps: Sequence[Sequence[BatchShape]], seconds: npt.NDArray[np.float64]) -> StepTimes:
    """Least squares of the relative error, with as many terms as the steps can tell apart and none below 0.

    Args:
        steps: shapes of the batches of each step.
        seconds: (steps,) what each took.
    """
    features = np.array([_features(shapes) for shapes in steps])
    distinct = len(np.unique(features, axis=0))
    for columns in ([0, 1, 2], [0, 1], [1]):
        if len(columns) > distinct and columns != [1]:
            continue
        found = np.zeros(3)
        found[columns] = np.linalg.lstsq(features[:, columns] / seconds[:, None], np.ones(len(seconds)), rcond=None)[0]
        if (found >= 0).all():
            break
    errors = features @ found / seconds - 1
    fixed, per_token, per_pair = map(float, found)
    return StepTimes(fixed, per_token, per_pair, spread=float(np.sqrt((errors**2).mean())))


def _features(shapes: Sequence[BatchShape]) -> npt.NDArray[np.float64]:
    tokens = sum(shape.padded_tokens for shape in shapes)
    return np.array([1.0, tokens, sum(shape.padded_tokens * shape.tokens for shape in shapes)])


def run_time(calibration: Calibration, prepared: Prepared, settings: TrainConfig) -> RunTime:
    """Seconds of a whole run: every batch of every epoch, measurements and checkpoints."""
    epochs = [steps_of_epoch(prepared.examples, settings, epoch) for epoch in range(settings.epochs)]
    steps = sum(map(len, epochs))
    sampled = [prepared.pool[k] for numbers in prepared.samples.values() for k in numbers]
    looks = len(watch_steps(settings, steps, prepared.examples, sampled))
    saved = -(-steps // settings.checkpoint_steps)
    if settings.keep == "best" or settings.early_stopping is not None:
        saved += looks
    return RunTime(
        start=calibration.start_s,
        training=sum(calibration.steps.seconds(step) for epoch in epochs for step in epoch),
        watching=looks * calibration.look_s,
        checkpoints=saved * calibration.checkpoint_s,
        spread=max(LEAST_SPREAD, 2 * calibration.steps.spread),
    )
