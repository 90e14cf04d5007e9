"""`<task>:not-regress`: the tuned model is worse than its baseline by less than `margin`, if at all."""

from __future__ import annotations

from collections.abc import Iterator

from evals import decide
from evals.evidence import Evidence
from schemas.config import TaskGate
from schemas.verdict import Check, Outcome

ORDER = 30


def judge(evidence: Evidence) -> Iterator[Check]:
    """One check a task that must not regress against its base: non-inferiority, so that a lack of items never passes.

    With a lock, its models are the baseline instead (`baseline.py`).

    Pass: the lower end of the paired interval is above -margin. Fail: it is not, and the upper end is below 0.
    """
    for task, condition in evidence.conditions.tasks.items():
        if condition.must == "not_regress" and evidence.baseline is None:
            yield check(evidence, task, condition, f"{task}:not-regress")


def check(
    evidence: Evidence, task: str, condition: TaskGate, name: str, baseline: str = "base", called: str = "base"
) -> Check:
    """Whether the tuned model is worse than a baseline by less than `margin`.

    Args:
        evidence: of the candidate.
        task: its name.
        condition: with the margin.
        name: of the check.
        baseline: the model that it is compared with.
        called: that model in words.
    """
    alpha = evidence.conditions.alpha
    margin = condition.margin or 0.0
    required = {"margin": margin, "alpha": alpha}
    if not (evidence.has(task, "tuned") and evidence.has(task, baseline)):
        return Check(
            name=name,
            outcome=Outcome.INCONCLUSIVE,
            message=f"{task} was not scored on both the {called} and the tuned model",
            required=required,
            help="run `assay evals` again",
        )
    found = evidence.compare(task, baseline)
    interval = found.interval
    said, measured, advice = decide.scores(found, "tuned", called, alpha), found.as_dict(), ""
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
