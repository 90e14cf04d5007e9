"""`overfitting:<measurement>`: whether the candidate learned its rows rather than the task."""

from __future__ import annotations

from collections.abc import Iterator

from evals.discovery import modules
from evals.evidence import Evidence
from schemas.errors import UserError
from schemas.verdict import Check

ORDER = 40


def judge(evidence: Evidence) -> Iterator[Check]:
    """One check for each measurement that `gates.model.overfitting` names.

    Raises:
        UserError: the config names a measurement or a threshold that does not exist.
    """
    known = {module.__name__.rsplit(".", 1)[-1]: module for module in modules("evals.overfitting")}
    for name, given in evidence.conditions.overfitting.items():
        if name not in known:
            raise UserError(
                f"no overfitting measurement is called {name!r}",
                where=f"gates.model.overfitting.{name}",
                expected=f"one of {', '.join(sorted(known))}",
            )
        measurement = known[name]
        thresholds = dict(measurement.DEFAULTS)
        for threshold, value in ({} if given == "default" else given).items():
            if threshold not in thresholds:
                raise UserError(
                    f"{name} has no threshold called {threshold!r}",
                    where=f"gates.model.overfitting.{name}.{threshold}",
                    expected=f"one of {', '.join(sorted(thresholds))}",
                )
            thresholds[threshold] = value
        yield measurement.judge(evidence, thresholds)
