"""`<task>:not-regress`: the tuned model is worse than its base by less than `margin`, if at all."""

from __future__ import annotations

from collections.abc import Iterator

from evals import decide
from evals.evidence import Evidence
from schemas.config import TaskGate
from schemas.verdict import Check, Outcome

ORDER = 30


def judge(evidence: Evidence) -> Iterator[Check]:
    """One check a task that must not regress: non-inferiority, so that a lack of items never passes.

    Pass: the lower end of the paired interval is above -margin. Fail: it is not, and the upper end is below 0.
    """
    for task, condition in evidence.conditions.tasks.items():
        if condition.must == "not_regress":
            yield _check(evidence, task, condition)


def _check(evidence: Evidence, task: str, condition: TaskGate) -> Check:
    name, alpha = f"{task}:not-regress", evidence.conditions.alpha
    margin = condition.margin or 0.0
    required = {"margin": margin, "alpha": alpha}
    if not (evidence.has(task, "tuned") and evidence.has(task, "base")):
        return Check(
            name=name,
            outcome=Outcome.INCONCLUSIVE,
            message=f"{task} was not scored on both the base and the tuned model",
            required=required,
            help="run `assay evals` again",
        )
    found = evidence.compare(task, "base")
    interval = found.interval
    said, measured, advice = decide.scores(found, "tuned", "base", alpha), found.as_dict(), ""
    if interval.is_evidence and interval.low > -margin:
        outcome = Outcome.PASS
        said += f"; a loss of {margin:g} or more is ruled out"
    elif interval.is_evidence and interval.high < 0:
        outcome = Outcome.FAIL
        said += f"; it is worse, and a loss of {margin:g} or more is not ruled out"
        advice = "train for fewer epochs, with a lower learning rate or rank, or mix general rows in"
    else:
        outcome = Outcome.INCONCLUSIVE
        enough = interval.is_evidence
        said += f"; {f'a loss of {margin:g} is not ruled out' if enough else decide.why_no_evidence(interval)}"
        advice = decide.more_items(found, interval.estimate + margin, alpha, condition)
        measured["items_to_decide"] = decide.deciding_items(found, interval.estimate + margin, alpha)
    return Check(name=name, outcome=outcome, message=said, measured=measured, required=required, help=advice)
