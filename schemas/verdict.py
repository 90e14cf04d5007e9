"""Three-valued outcomes: a gate never passes for lack of evidence."""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Literal

from pydantic import Field

from schemas.base import Strict
from schemas.errors import ExitCode


class Outcome(StrEnum):
    """What a check concluded. Precedence when combined: fail > stale > inconclusive > pass."""

    PASS = "pass"
    FAIL = "fail"
    INCONCLUSIVE = "inconclusive"
    STALE = "stale"
    NOT_APPLICABLE = "not_applicable"


class Standing(StrEnum):
    """Where a candidate stands beside its baseline on a task, a slice or overall, by an interval and never by a point.

    Precedence when combined: blocked > regressed > stale > inconclusive > improved > non_inferior.
    """

    IMPROVED = "improved"
    """Better by more than was asked for, or better at all where no gain was asked for."""
    NON_INFERIOR = "non_inferior"
    """A loss of the margin or more is ruled out."""
    INCONCLUSIVE = "inconclusive"
    REGRESSED = "regressed"
    """Worse, and a loss of the margin or more is not ruled out."""
    BLOCKED = "blocked"
    """What was asked for is ruled out: the loss is beyond the margin, or there is no such gain; or another condition
    failed."""
    STALE = "stale"


PRECEDENCE = (Outcome.FAIL, Outcome.STALE, Outcome.INCONCLUSIVE, Outcome.PASS)
EXIT_CODES = {
    Outcome.PASS: ExitCode.PASS,
    Outcome.FAIL: ExitCode.FAIL,
    Outcome.INCONCLUSIVE: ExitCode.INCONCLUSIVE,
    Outcome.STALE: ExitCode.INCONCLUSIVE,
}


class Check(Strict):
    """One condition of a gate, with what was measured and what was asked."""

    name: str
    """Condition in kebab-case, for example min-rows or spam_test:must-improve."""
    outcome: Outcome
    verdict: Standing | None = None
    """Where the candidate stands beside its baseline; null where the condition compares no two models."""
    message: str
    """One sentence in plain words: what was found and what it means."""
    measured: dict[str, Any] = Field(default_factory=dict)
    """Numbers behind the outcome: estimate, interval, counts."""
    required: dict[str, Any] = Field(default_factory=dict)
    """Thresholds from the config that the numbers were compared with."""
    help: str = ""
    """What to do when the outcome is not pass."""


class Verdict(Strict):
    """The judgement of one gate on one subject, both named by digest."""

    schema_: Literal["assay/verdict/1"] = Field(default="assay/verdict/1", alias="schema")
    gate: Literal["data", "model"]
    outcome: Outcome
    verdict: Standing | None = None
    """Where the candidate stands overall; null for the data gate."""
    subject: dict[str, str]
    """What was judged, role -> sha256: dataset, sources, adapter, base model, results, config."""
    checks: tuple[Check, ...]
    summary: str
    """The verdict in one plain sentence."""

    model_config = Strict.model_config | {"populate_by_name": True, "serialize_by_alias": True}


def combine(outcomes: Iterable[Outcome]) -> Outcome:
    """The outcome of several checks together; no evidence at all is inconclusive.

    `not_applicable` says nothing either way and is left out.
    """
    found = set(outcomes)
    for outcome in PRECEDENCE:
        if outcome in found:
            return outcome
    return Outcome.INCONCLUSIVE


WORST_FIRST = (
    Standing.BLOCKED,
    Standing.REGRESSED,
    Standing.STALE,
    Standing.INCONCLUSIVE,
    Standing.IMPROVED,
    Standing.NON_INFERIOR,
)
WITHOUT_COMPARISON = {
    Outcome.FAIL: Standing.BLOCKED,
    Outcome.STALE: Standing.STALE,
    Outcome.INCONCLUSIVE: Standing.INCONCLUSIVE,
}
"""What a condition that compares no two models says of the candidate; one that passes says nothing."""


def overall(checks: Iterable[Check]) -> Standing:
    """Where a candidate stands by all checks that decide; no evidence at all is inconclusive.

    All tasks must be non-inferior, each at its own level, which needs no correction (Berger 1982, Technometrics
    24:295-300); improved is a candidate that is so and improved on one of them.
    """
    deciding = [check for check in checks if check.outcome is not Outcome.NOT_APPLICABLE]
    found = {check.verdict or WITHOUT_COMPARISON.get(check.outcome) for check in deciding}
    return next((standing for standing in WORST_FIRST if standing in found), Standing.INCONCLUSIVE)
