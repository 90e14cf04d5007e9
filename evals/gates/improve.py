"""`<task>:improve`: the tuned model beats its base by more than `min_gain`."""

from __future__ import annotations

from collections.abc import Iterator

from evals import decide
from evals.evidence import Evidence
from schemas.config import TaskGate
from schemas.verdict import Check, Outcome, Standing

ORDER = 10


def judge(evidence: Evidence) -> Iterator[Check]:
    """One check a task that must improve.

    Pass: the lower end of the paired interval is above `min_gain`. Fail: its upper end is not, or it stays under the
    gain `detect` that the evaluation was planned to see, without showing `min_gain` either.
    """
    for task, condition in evidence.conditions.tasks.items():
        if condition.must == "improve":
            yield _check(evidence, task, condition)


def _check(evidence: Evidence, task: str, condition: TaskGate) -> Check:
    name, alpha = f"{task}:improve", evidence.conditions.alpha
    required = {"min_gain": condition.min_gain, "detect": condition.detect, "alpha": alpha}
    if not (evidence.has(task, "tuned") and evidence.has(task, "base")):
        return Check(
            name=name,
            outcome=Outcome.INCONCLUSIVE,
            verdict=Standing.INCONCLUSIVE,
            message=f"{task} was not scored on both the base and the tuned model",
            required=required,
            help="run `assay evals` again",
        )
    found = evidence.compare(task, "base")
    interval, bar = found.interval, condition.min_gain
    said = decide.scores(found, "tuned", "base", alpha)
    outcome = decide.shown_above(found, bar, alpha)
    advice = ""
    if outcome is Outcome.PASS:
        said += f"; the gain is above {bar:g}"
    elif not interval.is_evidence:
        said += f"; {decide.why_no_evidence(interval)}"
        advice = f"score more items: {decide.planned_items(condition, alpha)}, or give the test split more rows"
    elif outcome is Outcome.INCONCLUSIVE and condition.detect is not None and interval.high < condition.detect:
        outcome = Outcome.FAIL
        said += f"; no gain above {bar:g} is shown, and one of {condition.detect:g} is ruled out"
        advice = (
            "train longer, on more rows, or with a higher rank; see what the misses have in common in items.parquet"
        )
    elif outcome is Outcome.FAIL:
        said += f"; the gain is not above {bar:g}"
        advice = "the adapter does not help on this task: check the rows, the learning rate and the prompt"
    else:
        said += f"; these items cannot tell whether the gain is above {bar:g}"
        advice = decide.more_items(found, bar, alpha, condition)
    measured = found.as_dict()
    if outcome is Outcome.INCONCLUSIVE:
        measured["items_to_decide"] = decide.deciding_items(found, bar, alpha)
    verdict = decide.standing(found, outcome, gain=bar)
    return Check(
        name=name, outcome=outcome, verdict=verdict, message=said, measured=measured, required=required, help=advice
    )
