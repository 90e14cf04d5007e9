"""How often a gate caught what was planted, and how often it raised an alarm where nothing was, with intervals.

Intervals are those of Clopper and Pearson at 90%, so that each end alone holds with 95%: with no miss in 59 seeds the
lower end is above 0.95. What is asked is decided by an end and never by the share itself.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from evals.selftest.case import GATE, Case
from evals.selftest.chain import Effect, SeedResult
from evals.stats import clopper_pearson
from schemas.base import Strict
from schemas.verdict import Outcome, combine

ALPHA = 0.1
MIN_DETECTION, MAX_ALARMS = 0.95, 0.05
MEASUREMENTS = "overfitting:"


class Rate(Strict):
    """A share with its interval."""

    hits: int
    trials: int
    low: float
    high: float

    @classmethod
    def of(cls, hits: int, trials: int) -> Rate:
        """So many of so many; of no trials nothing is known."""
        low, high = clopper_pearson(hits, trials, ALPHA) if trials else (0.0, 1.0)
        return cls(hits=hits, trials=trials, low=round(low, 6), high=round(high, 6))

    def at_least(self, bound: float) -> Outcome:
        """Whether the share is known to reach a bound."""
        if self.low >= bound:
            return Outcome.PASS
        return Outcome.FAIL if self.high < bound else Outcome.INCONCLUSIVE

    def at_most(self, bound: float) -> Outcome:
        """Whether the share is known to stay within a bound."""
        if self.high <= bound:
            return Outcome.PASS
        return Outcome.FAIL if self.low > bound else Outcome.INCONCLUSIVE


class Spread(Strict):
    """An effect over the seeds of a case."""

    seeds: int
    low: float
    """A twentieth of the seeds lie below."""
    median: float
    high: float
    """A twentieth of the seeds lie above."""
    bound: float
    """Default threshold of the measurement."""

    @classmethod
    def of(cls, effects: Sequence[Effect]) -> Spread:
        """At least one."""
        low, median, high = np.quantile([one.estimate for one in effects], (0.05, 0.5, 0.95)).round(4).tolist()
        return cls(seeds=len(effects), low=low, median=median, high=high, bound=effects[0].bound)


class CaseRates(Strict):
    """What came of one planted model."""

    name: str
    what: str
    kind: Literal["fault", "sound"]
    expected: tuple[str, ...]
    alarms: tuple[str, ...]
    as_expected: Rate
    alarmed: Rate | None
    """Of what is sound: how often an alarm was raised; null for a fault."""
    outcome: Outcome
    """Of a fault, whether it is caught often enough; of what is sound, whether alarms are rare enough."""
    says: dict[str, dict[str, int]]
    """Check -> outcome -> seeds."""
    effects: dict[str, Spread] = Field(default_factory=dict)
    """Check and the name of the effect, with a space between -> what was measured."""
    missed: tuple[int, ...]
    """Seeds in which not all that was expected was said."""
    alarmed_seeds: tuple[int, ...]
    errors: dict[str, str]
    """Seed -> why there is no verdict."""
    scores: dict[str, float]
    """Model -> mean score on the task."""


class ModelRates(Strict):
    """`selftest.json` of the model gates."""

    schema_: Literal["assay/selftest-model/1"] = Field(default="assay/selftest-model/1", alias="schema")
    base_model: str
    seeds: int
    quick: bool
    outcome: Outcome
    cases: tuple[CaseRates, ...]
    detection: dict[str, Rate]
    """Check -> how often it failed on planted faults, all of them together; the whole verdict under `gate`."""
    false_alarms: dict[str, Rate]
    """Measurement -> how often it failed on sound models."""

    model_config = Strict.model_config | {"populate_by_name": True, "serialize_by_alias": True}


def case_rates(case: Case, results: Sequence[SeedResult]) -> CaseRates:
    """Count the outcomes of one case; a run that ended in an error was neither as expected nor sound."""
    missed = tuple(one.seed for one in results if one.error or not case.as_expected(one.says))
    alarmed = tuple(one.seed for one in results if one.error or case.alarmed(one.says))
    as_expected = Rate.of(len(results) - len(missed), len(results))
    sound = case.kind == "sound"
    rate = Rate.of(len(alarmed), len(results)) if sound else None
    says: dict[str, Counter[str]] = {}
    for one in results:
        for check, outcome in one.says.items():
            says.setdefault(check, Counter())[outcome.value] += 1
    effects: dict[str, list[Effect]] = {}
    for one in results:
        for name, effect in one.effects.items():
            effects.setdefault(name, []).append(effect)
    models = sorted({model for one in results for model in one.scores})
    return CaseRates(
        name=case.name,
        what=case.what,
        kind=case.kind,
        expected=tuple(map(str, case.expected)),
        alarms=tuple(map(str, case.alarms)),
        as_expected=as_expected,
        alarmed=rate,
        outcome=rate.at_most(MAX_ALARMS) if rate else as_expected.at_least(MIN_DETECTION),
        says={check: dict(sorted(counts.items())) for check, counts in sorted(says.items())},
        effects={name: Spread.of(found) for name, found in sorted(effects.items())},
        missed=missed,
        alarmed_seeds=alarmed if sound else (),
        errors={str(one.seed): one.error for one in results if one.error},
        scores={model: _mean([one.scores[model] for one in results if model in one.scores]) for model in models},
    )


def model_rates(
    cases: Sequence[Case], results: Mapping[str, Sequence[SeedResult]], base_model: str, *, quick: bool
) -> ModelRates:
    """Put the cases together.

    Args:
        cases: all that were run.
        results: name of a case -> one result a seed.
        base_model: what was tuned.
        quick: whether few seeds were run on purpose.
    """
    rated = tuple(case_rates(case, results[case.name]) for case in cases)
    return ModelRates(
        base_model=base_model,
        seeds=max((one.as_expected.trials for one in rated), default=0),
        quick=quick,
        outcome=combine(one.outcome for one in rated),
        cases=rated,
        detection=_failed([one for one in rated if one.kind == "fault"], (GATE, MEASUREMENTS), errors=0),
        false_alarms=_failed([one for one in rated if one.kind == "sound" and _should_pass(one)], (GATE,), errors=1)
        | _failed([one for one in rated if one.kind == "sound"], (MEASUREMENTS,), errors=1),
    )


def _should_pass(case: CaseRates) -> bool:
    return any(text == f"{GATE} says {Outcome.PASS}" for text in case.expected)


def _failed(cases: Sequence[CaseRates], beginnings: tuple[str, ...], *, errors: int) -> dict[str, Rate]:
    """Check -> how often it failed, of the seeds in which it could apply; without a verdict, so many `errors`."""
    fails: Counter[str] = Counter()
    asked: Counter[str] = Counter()
    for case in cases:
        for check, counts in case.says.items():
            if check.startswith(beginnings):
                fails[check] += counts.get(Outcome.FAIL, 0) + errors * len(case.errors)
                asked[check] += sum(counts.values()) - counts.get(Outcome.NOT_APPLICABLE, 0) + len(case.errors)
    return {check: Rate.of(fails[check], asked[check]) for check in sorted(asked)}


def _mean(values: Sequence[float]) -> float:
    return round(sum(values) / len(values), 6)
