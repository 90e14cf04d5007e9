"""`baseline:fits`, `<task>:not-regress-locked` and `-original`: the tuned model keeps what the lock's models could do.

Each new baseline may lose a little less than the margin against the one before it. Held to the original one as well,
small losses cannot add up.
"""

from __future__ import annotations

from collections.abc import Iterator

from evals.evidence import LOCKED, ORIGINAL, Baseline, Evidence
from evals.gates import not_regress
from schemas.config import TaskGate
from schemas.lock import Lock
from schemas.terminal import printable
from schemas.verdict import Check, Outcome, Standing

ORDER = 32
SHOWN = 5


def judge(evidence: Evidence) -> Iterator[Check]:
    """With a lock: whether it fits and, where it does, two checks of non-inferiority for each task of the gate.

    A task that must improve on its base may not lose `margin` against the lock either; where none is given, not the
    effect `detect` that its items were planned to show.

    Stale: any field of the lock differs from the evaluation; then nothing is compared.
    """
    held = evidence.baseline
    if held is None:
        return
    yield _fits(held)
    if held.differences:
        return
    for model in (LOCKED, ORIGINAL):
        called = {task: f"{model} baseline of {_date(held.lock, task, model)}" for task in held.lock.tasks}
        margins = {}
        for task, condition in evidence.conditions.tasks.items():
            if (task, model) in held.same:
                yield _itself(f"{task}:not-regress-{model}", called[task], len(held.lock.tasks[task].items))
            else:
                margins[task] = TaskGate(must="not_regress", margin=locked_margin(condition))
        yield from not_regress.held_to(evidence, margins, model, called)


def locked_margin(condition: TaskGate) -> float | None:
    """The loss against a lock's model that is too large; of a task that must improve, by default what it must show."""
    return condition.margin or condition.detect


def _date(lock: Lock, task: str, model: str) -> str:
    return (lock.blessing if model == LOCKED else lock.history[lock.tasks[task].original]).date


def _itself(name: str, called: str, items: int) -> Check:
    said = f"the candidate is the {called} itself: the same weights, and the same score on each of {items:,} items"
    return Check(
        name=name,
        outcome=Outcome.PASS,
        verdict=Standing.NON_INFERIOR,
        message=said,
        measured={"items": items, "same_weights": True},
    )


def _fits(held: Baseline) -> Check:
    blessed = held.lock.blessing
    about = f"the lock of {blessed.date} ({blessed.model} model: {printable(blessed.reason)})"
    counted = {"looks": len(held.lock.looks), "blessings": len(held.lock.history), "differences": len(held.differences)}
    measured = counted | ({"other_versions": list(held.notes)} if held.notes else {})
    if not held.differences:
        return Check(
            name="baseline:fits",
            outcome=Outcome.PASS,
            message=f"{about} fits; evaluations of its items before it was blessed: {counted['looks']:,}",
            measured=measured,
        )
    more = f"; and {len(held.differences) - SHOWN:,} more" if len(held.differences) > SHOWN else ""
    return Check(
        name="baseline:fits",
        outcome=Outcome.STALE,
        verdict=Standing.STALE,
        message=f"{about} does not fit this evaluation: {'; '.join(held.differences[:SHOWN])}{more}",
        measured=measured | {"fields": list(held.differences)},
        help="evaluate the candidate as the lock says, or bless a new baseline with `assay bless --override`",
    )
