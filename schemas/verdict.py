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
