"""`<task>:slice:<field>=<value>`: where in a task the tuned model differs from its base. Shown, and decides nothing."""

from __future__ import annotations

from collections.abc import Iterator

from evals import decide
from evals.evidence import Evidence
from evals.multiplicity import benjamini_hochberg
from schemas.verdict import Check, Outcome, Standing

ORDER = 35


def judge(evidence: Evidence) -> Iterator[Check]:
    """One check a slice, not applicable to the outcome, since nobody named slices as conditions.

    Regressed: the slice is worse, and stays so by Benjamini and Hochberg over all slices of all tasks. Improved and
    non-inferior: by the lower end of its interval, as for a task.
    """
    tasks = [task for task in evidence.conditions.tasks if evidence.has(task, "tuned") and evidence.has(task, "base")]
    found = {
        (task, name): evidence.compare(task, "base", part=items)
        for task in tasks
        for name, items in evidence.slices(task).items()
    }
    worse = benjamini_hochberg({place: comparison.p_worse for place, comparison in found.items()})
    alpha = evidence.conditions.alpha
    for (task, name), comparison in found.items():
        condition = evidence.conditions.tasks[task]
        bar = condition.min_gain if condition.must == "improve" else -(condition.margin or 0.0)
        interval = comparison.interval
        shown = decide.shown_above(comparison, bar, alpha) is Outcome.PASS
        lost = interval.is_evidence and interval.high < 0 and worse[task, name] <= alpha / 2
        verdict = decide.standing(comparison, Outcome.PASS if shown else Outcome.INCONCLUSIVE, gain=max(bar, 0.0))
        verdict = Standing.REGRESSED if lost and not shown else verdict
        measured = comparison.as_dict() | {"p_worse_bh": float(f"{worse[task, name]:.3g}")}
        if verdict is Standing.INCONCLUSIVE:
            measured["items_to_decide"] = decide.deciding_items(comparison, bar, alpha)
        yield Check(
            name=f"{task}:slice:{name}",
            outcome=Outcome.NOT_APPLICABLE,
            verdict=verdict,
            message=f"{decide.scores(comparison, 'tuned', 'base', alpha)}; shown only",
            measured=measured,
            required={"difference": bar, "alpha": alpha},
        )
