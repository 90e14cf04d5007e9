"""`<task>:not-regress`: the tuned model is worse than its baseline by less than `margin`, if at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from evals import decide
from evals.evidence import Evidence
from schemas.config import TaskGate
from schemas.verdict import Check, Outcome, Standing

ORDER = 30


def judge(evidence: Evidence) -> Iterator[Check]:
    """One check a task that must not regress against its base, so that a lack of items never passes.

    With a lock, its models are the baseline instead (`baseline.py`).

    Pass: the lower end of the paired interval is above -margin; that each task passes at its own level is enough for
    all of them together. Fail: it is not, the upper end is below 0, and the loss stays significant by Holm over all
    tasks of the gate, so that many good tasks do not fail a candidate by chance.
    """
    if evidence.baseline is None:
        yield from held_to(evidence, evidence.conditions.tasks, "base", {})


def held_to(
    evidence: Evidence, conditions: Mapping[str, TaskGate], baseline: str, called: Mapping[str, str]
) -> Iterator[Check]:
    """One check a task that must not regress against one model.

    Args:
        evidence: of the candidate.
        conditions: task -> its condition; those that must improve are left out.
        baseline: the model that the candidate is compared with.
        called: task -> that model in words; by default its name.
    """
    worse = evidence.worse(baseline)
    for task, condition in conditions.items():
        if condition.must == "not_regress":
            yield _check(evidence, task, condition, worse, (baseline, called.get(task, baseline)))


def _check(
    evidence: Evidence, task: str, condition: TaskGate, worse: Mapping[str, float], against: tuple[str, str]
) -> Check:
    (baseline, called), alpha = against, evidence.conditions.alpha
    name = f"{task}:not-regress" + (f"-{baseline}" if evidence.baseline else "")
    margin = condition.margin or 0.0
    required = {"margin": margin, "alpha": alpha}
    if not (evidence.has(task, "tuned") and evidence.has(task, baseline)):
        return Check(
            name=name,
            outcome=Outcome.INCONCLUSIVE,
            verdict=Standing.INCONCLUSIVE,
            message=f"{task} was not scored on both the {called} and the tuned model",
            required=required,
            help="run `assay evals` again",
        )
    found = evidence.compare(task, baseline)
    interval = found.interval
    said, measured, advice = decide.scores(found, "tuned", called, alpha), found.as_dict(), ""
    measured["p_worse_holm"] = float(f"{worse[task]:.3g}")
    if decide.shown_above(found, -margin, alpha) is Outcome.PASS:
        outcome = Outcome.PASS
        said += f"; a loss of {margin:g} or more is ruled out"
    elif interval.is_evidence and interval.high < 0 and worse[task] <= alpha / 2:
        outcome = Outcome.FAIL
        said += f"; it is worse, and a loss of {margin:g} or more is not ruled out"
        advice = "train for fewer epochs, with a lower learning rate or rank, or mix general rows in"
    else:
        outcome = Outcome.INCONCLUSIVE
        enough = interval.is_evidence
        said += f"; {f'a loss of {margin:g} is not ruled out' if enough else decide.why_no_evidence(interval)}"
        advice = decide.more_items(found, -margin, alpha, condition)
        measured["items_to_decide"] = decide.deciding_items(found, -margin, alpha)
    verdict = decide.standing(found, outcome, margin=margin)
    return Check(
        name=name, outcome=outcome, verdict=verdict, message=said, measured=measured, required=required, help=advice
    )
