"""A forest plot: every paired difference with its interval, the checks of a task below each other on one scale."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from curate.outputs.page import Safe
from curate.outputs.standings import TONES
from schemas.verdict import Check, Outcome, Verdict

WIDTH, ROW, EDGE = 360, 24, 20
"""Of a row, in units of the picture; the page scales it."""


@dataclass(frozen=True)
class Difference:
    """One row of the plot."""

    name: str
    tone: Outcome
    """Whose colour it has."""
    words: str
    """Where the candidate stands; the outcome where the check says nothing of that."""
    estimate: float
    low: float | None
    high: float | None
    bar: float
    """What an end of the interval is compared with."""
    items: int | None


@dataclass(frozen=True)
class Forest:
    """The rows of one task."""

    task: str
    rows: tuple[Difference, ...]

    @property
    def scale(self) -> tuple[float, float]:
        """Least and greatest difference shown; 0 and every threshold are within."""
        ends = [end for row in self.rows for end in (row.low, row.high, row.estimate, row.bar, 0.0) if end is not None]
        low, high = min(ends), max(ends)
        spare = 0.06 * (high - low) or 0.1
        return low - spare, high + spare


def forests(verdict: Verdict) -> list[Forest]:
    """A plot for each task that a check compares models on; slices are checks of their task."""
    found: dict[str, list[Difference]] = {}
    for check in verdict.checks:
        task, _, condition = check.name.partition(":")
        difference = _difference(check, condition)
        if difference is not None:
            found.setdefault(task, []).append(difference)
    return [Forest(task, tuple(rows)) for task, rows in found.items()]


def _difference(check: Check, condition: str) -> Difference | None:
    measured, required = check.measured, check.required
    estimate, thresholds = measured.get("estimate"), {"margin", "min_gain", "difference"} & {*required}
    if not isinstance(estimate, int | float) or not thresholds:
        return None
    bar = -required["margin"] if "margin" in required else required.get("min_gain", required.get("difference"))
    tone = TONES[check.verdict] if check.verdict else check.outcome
    words = (check.verdict or check.outcome).value.replace("_", "-")
    ends = measured.get("low"), measured.get("high")
    return Difference(condition, tone, words, estimate, *ends, bar or 0.0, measured.get("items"))


def row_picture(row: Difference, scale: tuple[float, float]) -> Safe:
    """One row: its interval as a line, its estimate as a square, zero and the threshold as lines across."""
    middle = ROW / 2
    parts = [_across("zero", 0.0, scale), _across("bar", row.bar, scale)]
    kind = row.tone.value
    if row.low is not None and row.high is not None:
        left, right = _place(row.low, scale), _place(row.high, scale)
        parts.append(f'<line class="{kind}" x1="{left}" x2="{right}" y1="{middle}" y2="{middle}"/>')
    parts.append(f'<rect class="{kind}" x="{_place(row.estimate, scale) - 4}" y="{middle - 4}" width="8" height="8"/>')
    return Safe(_svg("".join(parts), ROW))


def axis_picture(scale: tuple[float, float]) -> Safe:
    """The scale below the rows."""
    parts = [
        f'<text x="{_place(tick, scale)}" y="14">{tick:+g}</text>'.replace(">+0<", ">0<") for tick in _ticks(*scale)
    ]
    return Safe(_svg("".join(parts), 18))


def _ticks(low: float, high: float) -> Iterator[float]:
    step = next(
        step
        for power in range(-6, 9)
        for step in (10.0**power, 2 * 10.0**power, 5 * 10.0**power)
        if (high - low) / step <= 5
    )
    first, last = int(low / step), int(high / step)
    return (round(number * step, 9) for number in range(first, last + 1))


def _across(kind: str, value: float, scale: tuple[float, float]) -> str:
    place = _place(value, scale)
    return f'<line class="{kind}" x1="{place}" x2="{place}" y1="0" y2="{ROW}"/>'


def _place(value: float, scale: tuple[float, float]) -> float:
    low, high = scale
    return round(EDGE + (WIDTH - 2 * EDGE) * (value - low) / (high - low), 1)


def _svg(inside: str, height: int) -> str:
    return f'<svg viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" aria-hidden="true">{inside}</svg>'


def described(rows: Sequence[Difference]) -> str:
    """The plot in words, for who cannot see it."""
    return "; ".join(f"{row.name} {row.estimate:+.3f}, {row.words}" for row in rows)
