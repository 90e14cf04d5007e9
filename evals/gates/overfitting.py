"""`overfitting:<measurement>`: whether the candidate learned its rows rather than the task, and what it forgot.

Controls come first: where trained and held-out rows differ in kind, or a base model that saw neither tells them apart,
a difference between them says nothing about memory, and what rests on it is inconclusive. Then each measurement is
judged by an effect size and its interval. A measurement that fails must do so after Holm's correction over all
measurements that could have failed; one that fails only by itself is inconclusive.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import Any

from evals.discovery import modules
from evals.evidence import Evidence
from evals.measuring import When, check
from evals.multiplicity import holm
from schemas.errors import UserError
from schemas.verdict import Check, Outcome

ORDER = 40
FIRST = ("gain_gap", "heldout", "drift")
"""In this order; the others by name."""


def judge(evidence: Evidence) -> Iterator[Check]:
    """The controls and the measurements.

    Raises:
        UserError: the config names a measurement or a threshold that does not exist.
    """
    known = {module.__name__.rsplit(".", 1)[-1]: module for module in modules("evals.overfitting")}
    wanted = {name: _thresholds(known, name, given) for name, given in evidence.conditions.overfitting.items()}
    chosen = {
        name: wanted.get(name, known[name].DEFAULTS)
        for name in sorted(known, key=lambda name: (FIRST.index(name) if name in FIRST else len(FIRST), name))
        if name in wanted or known[name].WHEN is not When.NAMED
    }
    found = {
        name: _measure(known[name], name, evidence, thresholds)
        for name, thresholds in chosen.items()
        if name in wanted or known[name].WHEN is not When.QUIET or not known[name].applies(evidence)
    }
    judged = {name: one for name, one in found.items() if one.outcome is not Outcome.NOT_APPLICABLE}
    controls = [one.judge(evidence) for one in modules("evals.controls") if judged.keys() & set(one.UNDERMINES)]
    undermined = _undermined(controls)
    adjusted = holm({name: float(one.measured.get("p", 1.0)) for name, one in judged.items()})
    yield from controls
    for name, one in found.items():
        if one.outcome is Outcome.NOT_APPLICABLE:
            if chosen[name] is not None or known[name].WHEN is When.ALWAYS:
                yield one
        else:
            yield _final(one, adjusted[name], undermined.get(name, ""), evidence.conditions.alpha)


def _thresholds(
    known: Mapping[str, ModuleType], name: str, given: str | Mapping[str, float]
) -> dict[str, float] | None:
    """The thresholds of a measurement; null where it is switched off."""
    if name not in known:
        raise UserError(
            f"no overfitting measurement is called {name!r}",
            where=f"gates.model.overfitting.{name}",
            expected=f"one of {', '.join(sorted(known))}",
        )
    thresholds = dict(known[name].DEFAULTS)
    for threshold, value in ({} if isinstance(given, str) else given).items():
        if threshold not in thresholds:
            raise UserError(
                f"{name} has no threshold called {threshold!r}",
                where=f"gates.model.overfitting.{name}.{threshold}",
                expected=f"one of {', '.join(sorted(thresholds))}",
            )
        thresholds[threshold] = value
    return None if given == "off" else thresholds


def _measure(module: ModuleType, name: str, evidence: Evidence, thresholds: Mapping[str, float] | None) -> Check:
    if thresholds is None:
        return check(name, Outcome.NOT_APPLICABLE, "it is switched off in the config", {}, {})
    if module.READS_LOSSES and evidence.results.no_losses:
        said = f"it cannot be judged without losses: {evidence.results.no_losses}"
        advice = "evaluate in process, or with a backend that gives log-probabilities"
        return check(name, Outcome.INCONCLUSIVE, said, {}, thresholds, advice)
    reason = module.applies(evidence)
    if reason:
        return check(name, Outcome.NOT_APPLICABLE, reason, {}, thresholds)
    found: Check = module.judge(evidence, thresholds)
    return found


def _undermined(controls: list[Check]) -> dict[str, str]:
    """Measurement -> the controls that take away what it rests on."""
    found: dict[str, list[str]] = {}
    for control in controls:
        if control.outcome in (Outcome.FAIL, Outcome.INCONCLUSIVE):
            for name in control.measured["undermines"]:
                found.setdefault(name, []).append(control.name)
    return {name: " and ".join(names) for name, names in found.items()}


def _final(found: Check, adjusted: float, undermined: str, alpha: float) -> Check:
    """A measurement's check after controls and correction."""
    measured: dict[str, Any] = dict(found.measured)
    if "p" in measured:
        measured |= {"p": round(measured["p"], 6), "p_holm": round(adjusted, 6)}
    if undermined and found.outcome is not Outcome.INCONCLUSIVE:
        said = f"nothing can rest on this, because {undermined} did not pass; by itself it would be {found.outcome}: "
        changed = {"outcome": Outcome.INCONCLUSIVE, "message": said + found.message, "measured": measured}
        return found.model_copy(update=changed | {"help": f"see {undermined}"})
    if found.outcome is Outcome.FAIL and adjusted > alpha:
        said = f"by itself this would fail, but of so many measurements one does by chance (Holm's p {adjusted:.3f}): "
        changed = {"outcome": Outcome.INCONCLUSIVE, "message": said + found.message, "measured": measured}
        return found.model_copy(update=changed)
    return found.model_copy(update={"measured": measured})
