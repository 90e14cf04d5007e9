"""A planted model: what is trained, and what the gate must say about it, written down before anything runs."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, Literal

from evals.discovery import modules, named
from evals.selftest.task import MadeRow, made_rows
from schemas.base import fingerprint
from schemas.verdict import Outcome

GATE = "gate"
"""Stands for the whole verdict among the names of checks."""
ROWS = 1000
"""Rows of a seed: 550 to train on, 50 to watch, 400 to judge by."""
SPLIT = {"train": 0.55, "validation": 0.05, "test": 0.4}
MEASURED, MEASURED_EMBEDDED = 400, 80
"""Items of the task, trained rows and test rows that are read: with 100, a sound model is often inconclusive."""

SOUND_TRAINING = {"batch_size": 8, "learning_rate": 1e-3, "schedule": "cosine", "warmup_steps": 8}
"""Settings of `train` that lead to a model which learned its task."""

FOR_EMBEDDED = {
    "learning_rate": 2e-3,
    "lora": {"r": 8, "lora_alpha": 16, "target_modules": ["q_proj", "k_proj", "v_proj", "o_proj"], "last_layers": 15},
}
"""Settings of `train` for the embedded model, as in the embedded example."""

Rows = Callable[[int], list[MadeRow]]
Says = Mapping[str, str]
"""Name of a check -> its outcome; the whole verdict under `gate`."""


@dataclass(frozen=True)
class Expected:
    """Something that the gate says."""

    check: str
    """`gate`, the name of a check, or a pattern of names such as `overfitting:*`; one that fits suffices."""
    outcomes: tuple[Outcome, ...]

    def holds(self, says: Says) -> bool:
        """Whether a check that fits has one of the outcomes."""
        return any(fnmatchcase(name, self.check) and outcome in self.outcomes for name, outcome in says.items())

    def __str__(self) -> str:
        return f"{self.check} says {' or '.join(self.outcomes)}"


@dataclass(frozen=True)
class Case:
    """One planted model, trained once a seed on rows of its own."""

    name: str
    what: str
    """What is planted, in a sentence."""
    kind: Literal["fault", "sound"]
    """A fault must be caught; what is sound must not raise an alarm."""
    expected: tuple[Expected, ...]
    """All of them in every seed: of a fault, this is being caught."""
    alarms: tuple[Expected, ...] = ()
    """Of what is sound: any of them is a false alarm."""
    train: Mapping[str, Any] = field(default_factory=dict)
    """Settings of `train` in assay.yaml, beside those that all cases share."""
    form: Literal["chat", "text"] = "chat"
    """Conversations, whose answers are trained, or plain texts, which are trained whole."""
    leaked_share: float = 0.0
    """Share of the test split that is trained as well, with the data gate off."""
    embedded: Mapping[str, Any] = field(default_factory=dict)
    """Settings of `train` that differ where the embedded model is tuned."""
    measured: int = MEASURED
    """Items of the task, and rows of either kind."""
    named: tuple[str, ...] = ()
    """Measurements of overfitting that the config names, beside those that are always judged."""
    rows: Rows = lambda seed: made_rows(seed, ROWS)
    """The rows of a seed."""

    def for_embedded(self) -> Case:
        """The same case for the embedded model."""
        train = {**self.train, **FOR_EMBEDDED, **self.embedded}
        return dataclasses.replace(self, train=train, embedded={}, named=(), measured=MEASURED_EMBEDDED)

    @property
    def settings(self) -> str:
        """Digest of everything but the rows, which the code decides."""
        known = {name: value for name, value in dataclasses.asdict(self).items() if name not in ("rows", "embedded")}
        return fingerprint(known)

    def as_expected(self, says: Says) -> bool:
        """Whether the gate said all that was expected."""
        return all(one.holds(says) for one in self.expected)

    def alarmed(self, says: Says) -> bool:
        """Whether the gate said something that it must not say of a sound model."""
        return any(one.holds(says) for one in self.alarms)


def planted_cases(names: Sequence[str] = ()) -> list[Case]:
    """The cases under `evals/selftest/cases/`, or those that are named, in the order of their names.

    Raises:
        UserError: there is no such case.
    """
    known = {module.CASE.name: module.CASE for module in modules("evals.selftest.cases")}
    return named(known, names, "planted case", "--cases")
