"""`<task>:slice:<field>=<value>`: where in a task the tuned model differs from its base. Shown, and decides nothing.

With a lock that fits, `slice-locked` says the same of its model.
"""

from __future__ import annotations

from collections.abc import Iterator

from evals import decide
from evals.comparison import Comparison
from evals.evidence import LOCKED, Evidence
from evals.gates.baseline import locked_margin
from evals.multiplicity import benjamini_hochberg
from schemas.config import TaskGate
from schemas.verdict import Check, Outcome, Standing

ORDER = 35


def judge(evidence: Evidence) -> Iterator[Check]:
    """One check a slice and baseline, not applicable to the outcome, since nobody named slices as conditions.

    Regressed: the slice is worse, and stays so by Benjamini and Hochberg over all slices of all tasks. Improved and
    non-inferior: by the lower end of its interval, as for a task.
    """
    found = {
        (task, baseline, name): evidence.compare(task, baseline, part=items)
        for task in evidence.conditions.tasks
        for baseline in ("base", LOCKED)
        if evidence.has(task, "tuned") and evidence.has(task, baseline)
        for name, items in evidence.slices(task).items()
    }
    worse = benjamini_hochberg({place: comparison.p_worse for place, comparison in found.items()})
    for (task, baseline, name), comparison in found.items():
        condition, p_worse = evidence.conditions.tasks[task], worse[task, baseline, name]
        kind = "slice" if baseline == "base" else f"slice-{baseline}"
        yield _check(f"{task}:{kind}:{name}", comparison, _bar(condition, baseline), p_worse, evidence, baseline)


def _bar(condition: TaskGate, baseline: str) -> float:
    """The threshold of a task: a gain over its base, or the loss that may not be."""
    if baseline == LOCKED:
        return -(locked_margin(condition) or 0.0)
    return condition.min_gain if condition.must == "improve" else -(condition.margin or 0.0)


def _check(name: str, found: Comparison, bar: float, p_worse: float, evidence: Evidence, baseline: str) -> Check:
    alpha, interval = evidence.conditions.alpha, found.interval
    shown = decide.shown_above(found, bar, alpha) is Outcome.PASS
    lost = interval.is_evidence and interval.high < 0 and p_worse <= alpha / 2
    verdict = decide.standing(found, Outcome.PASS if shown else Outcome.INCONCLUSIVE, gain=max(bar, 0.0))
    verdict = Standing.REGRESSED if lost and not shown else verdict
    measured = found.as_dict() | {"p_worse_bh": float(f"{p_worse:.3g}")}
    if verdict is Standing.INCONCLUSIVE:
        measured["items_to_decide"] = decide.deciding_items(found, bar, alpha)
    called = "base" if baseline == "base" else f"{baseline} baseline"
    return Check(
        name=name,
        outcome=Outcome.NOT_APPLICABLE,
        verdict=verdict,
        message=f"{decide.scores(found, 'tuned', called, alpha)}; shown only",
        measured=measured,
        required={"difference": bar, "alpha": alpha},
    )
