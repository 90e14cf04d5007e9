"""`<task>:beats-majority` and other references: the tuned model beats what needs no language model at all."""

from __future__ import annotations

from collections.abc import Iterator

from evals import decide
from evals.evidence import Evidence
from schemas.config import TaskGate
from schemas.verdict import Check, Outcome

ORDER = 20

WORDS = {
    "majority": "always answering the most frequent label",
    "bag_of_words": "a bag-of-words classifier trained on the same rows",
}


def judge(evidence: Evidence) -> Iterator[Check]:
    """One check for each task that must improve and each reference that its `beat` names, where the task has labels.

    Pass: the lower end of the paired interval of tuned minus reference is above 0. Fail: its upper end is not.
    """
    for task, condition in evidence.conditions.tasks.items():
        if condition.must == "improve":
            for reference in condition.beat:
                yield _check(evidence, task, condition, reference)


def _check(evidence: Evidence, task: str, condition: TaskGate, reference: str) -> Check:
    name, alpha = f"{task}:beats-{reference.replace('_', '-')}", evidence.conditions.alpha
    required = {"difference": 0.0, "alpha": alpha}
    if not evidence.has(task, reference):
        reason = evidence.results.tasks.get(task, {}).get("no_references")
        return Check(
            name=name,
            outcome=Outcome.NOT_APPLICABLE if reason else Outcome.INCONCLUSIVE,
            message=f"{task} was not scored for {WORDS[reference]}: {reason or 'its scores are missing'}",
            required=required,
            help="" if reason else "run `assay evals` again",
        )
    found = evidence.compare(task, reference)
    interval = found.interval
    outcome = decide.shown_above(found, 0.0, alpha)
    said = decide.scores(found, "tuned", WORDS[reference], alpha)
    measured, advice = found.as_dict(), ""
    if outcome is Outcome.FAIL:
        said += "; the language model adds nothing over it"
        advice = "train on more rows, or use the simpler model"
    elif outcome is Outcome.INCONCLUSIVE:
        enough = interval.is_evidence
        said += f"; {'these items cannot tell the two apart' if enough else decide.why_no_evidence(interval)}"
        advice = decide.more_items(found, 0.0, alpha, condition)
        measured["items_to_decide"] = decide.deciding_items(found, 0.0, alpha)
    return Check(name=name, outcome=outcome, message=said, measured=measured, required=required, help=advice)
