"""The search of a sweep, by Optuna: which settings come next, which trial is given up, and what is kept on the disk.

Only finished trials enter the study, each as one line of its journal, so a process that is killed leaves no half-known
trial. The settings of a trial follow from the seed, its number and the trials before it: a sweep that goes on tries
what it would have tried.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import TrialState, create_trial

from schemas.atomic import write_atomic
from schemas.sweep_config import Setting, SweepConfig, setting_of
from schemas.sweep_results import Trial
from schemas.train_config import TrainConfig

NAME = "sweep"
RECORD = "trial"
DRAWN_AT_RANDOM = 5
"""Trials before the sampler begins to learn from them."""
FINISHED_FIRST = 3
"""Finished trials that a median is taken of at least."""
MARKS = 10
"""Points of each epoch at which trials are compared."""
STATES = {
    "passed": TrialState.COMPLETE,
    "rejected": TrialState.COMPLETE,
    "pruned": TrialState.PRUNED,
    "failed": TrialState.FAIL,
}


class Search:
    """The study of a sweep, opened or begun.

    Args:
        path: the journal; a last line that was cut short is taken away.
        settings: `sweep` of the config.
        base: `train` of the config, which trial 0 is.
    """

    def __init__(self, path: Path, settings: SweepConfig, base: TrainConfig) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self._settings = settings
        self._distributions = {name: distribution_of(setting) for name, setting in settings.space.items()}
        self._own = {name: setting_of(base, name) for name in settings.space}
        _repair(path)
        storage = JournalStorage(JournalFileBackend(str(path)))
        self._study = optuna.create_study(storage=storage, study_name=NAME, load_if_exists=True)
        self._pruner = optuna.pruners.MedianPruner(n_startup_trials=FINISHED_FIRST, n_warmup_steps=1)

    def trials(self) -> list[Trial]:
        """Those so far, in their order."""
        return [Trial.model_validate(one.user_attrs[RECORD]) for one in self._study.get_trials(deepcopy=False)]

    def next_settings(self) -> dict[str, Any]:
        """What the next trial tries: `train` as it stands, then what Optuna's TPE sampler suggests."""
        done = self._study.get_trials()
        if not done:
            return dict(self._own)
        # A generator that lived on from trial to trial would be lost with the process.
        sampler = optuna.samplers.TPESampler(
            seed=(self._settings.seed + len(done)) % (1 << 32),
            n_startup_trials=DRAWN_AT_RANDOM,
        )
        beside = optuna.create_study(sampler=sampler)
        beside.add_trials(done)
        drawn = beside.ask(fixed_distributions=self._distributions).params
        return {name: decoded(value, self._settings.space[name]) for name, value in drawn.items()}

    def is_hopeless(self, curve: Sequence[tuple[float, float]]) -> bool:
        """Whether a trial is to be given up.

        Args:
            curve: epochs, and the held-out loss after them, as measured so far.
        """
        values = at_marks(curve)
        if not self._settings.prune or not values:
            return False
        running = create_trial(state=TrialState.RUNNING, intermediate_values=values)
        return bool(self._pruner.prune(self._study, running))

    def add(self, trial: Trial, max_gain_gap: float) -> None:
        """Keep a trial that ended, whichever way; one that the watch rejected counts as outside what is allowed."""
        known = {name: value for name, value in self._encoded(trial).items() if self._allows(name, value)}
        gap = {} if trial.gain_gap is None else {"gain_gap": trial.gain_gap - max_gain_gap}
        made = create_trial(
            state=STATES[trial.state],
            value=trial.validation_loss,
            params=known,
            distributions={name: self._distributions[name] for name in known},
            intermediate_values=at_marks(trial.curve),
            user_attrs={RECORD: trial.model_dump(mode="json")},
            constraints=gap,
        )
        self._study.add_trial(made)

    def _encoded(self, trial: Trial) -> dict[str, Any]:
        space = self._settings.space
        return {k: value if space[k].choices is None else encoded(value) for k, value in trial.settings.items()}

    def _allows(self, name: str, value: Any) -> bool:
        """False for a setting of trial 0 that lies outside of the space."""
        kind: BaseDistribution = self._distributions[name]
        if isinstance(kind, CategoricalDistribution):
            return value in kind.choices
        return (
            isinstance(kind, FloatDistribution | IntDistribution)
            and value is not None
            and kind.low <= value <= kind.high
        )


def encoded(value: Any) -> str:
    """A choice as the text that Optuna keeps; it takes no lists."""
    return json.dumps(value)


def decoded(value: Any, setting: Setting) -> Any:
    """A drawn value as `train` takes it; of a number between two others, the digits that a person would type."""
    if setting.choices is not None:
        return json.loads(value)
    if isinstance(value, int):
        return value
    assert setting.low is not None
    assert setting.high is not None
    return min(max(float(f"{value:.3g}"), setting.low), setting.high)


def distribution_of(setting: Setting) -> BaseDistribution:
    """A setting's values in Optuna's terms."""
    if setting.choices is not None:
        return CategoricalDistribution([encoded(choice) for choice in setting.choices])
    if isinstance(setting.low, int) and isinstance(setting.high, int):
        return IntDistribution(setting.low, setting.high, log=setting.log)
    assert setting.low is not None
    assert setting.high is not None
    return FloatDistribution(setting.low, setting.high, log=setting.log)


def at_marks(curve: Sequence[tuple[float, float]]) -> dict[int, float]:
    """A curve at the points where trials are compared: tenths of an epoch -> the least held-out loss by then.

    Trials measure at different steps, since their epochs and batches differ. What was not measured at a mark is taken
    from before it, which makes the median higher and pruning later, never earlier.
    """
    found: dict[int, float] = {}
    least = float("inf")
    for epochs, loss in curve:
        here = int(epochs * MARKS + 1e-9)
        if found:
            found |= dict.fromkeys(range(max(found) + 1, here), least)
        least = found[here] = min(least, loss)
    return found


def _repair(path: Path) -> None:
    """Take away what a killed process left: half a last line, which Optuna would write on after, and its lock.

    Whoever calls this holds the lock of the whole folder.
    """
    path.with_name(path.name + ".lock").unlink(missing_ok=True)
    if path.is_file() and not (data := path.read_bytes()).endswith(b"\n"):
        write_atomic(path, data[: data.rfind(b"\n") + 1])
