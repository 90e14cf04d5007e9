"""Where a candidate stands by task, by slice and overall, in the words that every format uses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from schemas.verdict import WITHOUT_COMPARISON, WORST_FIRST, Check, Outcome, Standing, Verdict, overall

TONES = {
    Standing.IMPROVED: Outcome.PASS,
    Standing.NON_INFERIOR: Outcome.PASS,
    Standing.REGRESSED: Outcome.FAIL,
    Standing.BLOCKED: Outcome.FAIL,
    Standing.INCONCLUSIVE: Outcome.INCONCLUSIVE,
    Standing.STALE: Outcome.STALE,
}
"""The outcome whose colour a page gives a standing."""


@dataclass(frozen=True)
class Place:
    """One task, or one slice of it."""

    name: str
    standing: Standing
    items: int | None
    """That would decide, where nothing was decided and a number is known."""

    @property
    def words(self) -> str:
        """The standing, for a reader."""
        return _words(self.standing, self.items)


def outcome_words(verdict: Verdict) -> str:
    """The outcome and, where it says more, the standing behind it: `pass (non-inferior)`."""
    outcome = verdict.outcome.value.replace("_", " ")
    standing = verdict.verdict
    return f"{outcome} ({_words(standing, None)})" if standing and standing.value != outcome else outcome


def check_words(check: Check) -> str:
    """What the standing of a check says beyond its outcome; empty where that is nothing."""
    outcome = check.outcome.value
    return _words(check.verdict, _items([check])).removeprefix(outcome).removeprefix(", ") if check.verdict else ""


def deciding_items(verdict: Verdict) -> int | None:
    """Items that would decide all that is undecided; null where nothing is, or where no number is known."""
    return _items(_deciding(verdict))


def task_places(verdict: Verdict) -> list[Place]:
    """Every task that the gate compares models on, by all of its checks that decide, and whatever else did not pass."""
    groups: dict[str, list[Check]] = {}
    for check in _deciding(verdict):
        groups.setdefault(check.name.partition(":")[0], []).append(check)
    return [
        Place(name, overall(checks), _items(checks))
        for name, checks in groups.items()
        if verdict.verdict and any(check.verdict or check.outcome in WITHOUT_COMPARISON for check in checks)
    ]


def slice_places(verdict: Verdict) -> list[Place]:
    """Every slice, the worst first; none of them decides."""
    found = []
    for check in verdict.checks:
        task, _, rest = check.name.partition(":")
        kind, _, value = rest.partition(":")
        if check.verdict is not None and kind.startswith("slice"):
            against = kind.removeprefix("slice").removeprefix("-")
            name = f"{task}, {value}" + (f", against {against}" if against else "")
            found.append(Place(name, check.verdict, _items([check])))
    return sorted(found, key=lambda place: WORST_FIRST.index(place.standing))


def _deciding(verdict: Verdict) -> list[Check]:
    return [check for check in verdict.checks if check.outcome is not Outcome.NOT_APPLICABLE]


def _items(checks: Iterable[Check]) -> int | None:
    """The largest number of items that an undecided check needs; null where one of them names none."""
    open_ones = [check for check in checks if Standing.INCONCLUSIVE in (check.verdict, check.outcome.value)]
    numbers = [check.measured.get("items_to_decide") for check in open_ones]
    known = [number for number in numbers if isinstance(number, int)]
    return max(known) if known and len(known) == len(numbers) else None


def _words(standing: Standing, items: int | None) -> str:
    said = standing.value.replace("_", "-")
    enough = standing is Standing.INCONCLUSIVE and items is not None
    return f"{said}, about {items:,} items would decide" if enough else said
