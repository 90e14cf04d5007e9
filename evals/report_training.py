"""What a report says of a training run: its curves, the published step, ways back, canaries.

From `metrics.jsonl` and `ledger.json` of the train stage. An adapter that was trained elsewhere has neither, and an
earlier version wrote less into them: what is not there is left out.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from evals.chain import Node
from schemas.errors import ManifestError

Points = tuple[tuple[int, float], ...]
"""(optimiser step, value), in the order of steps."""

UNITS = {"dpo": "nats per pair", "reward": "nats per pair", "kto": "per answer", "grpo": "mean of an answer"}
TOKENS = "nats per supervised token"
"""Unit of the loss of every method that is not in UNITS."""
SHARES = {"dpo": "pairs", "reward": "pairs"}
BATCHES, TRAINED, HELD_OUT = "trained batches", "trained sample", "held-out sample"
"""What the curves are called."""
CANARY = re.compile(r"canary_(\d+)_loss")


@dataclass(frozen=True)
class Measure:
    """What was measured beside the loss, on both samples."""

    title: str
    trained: Points
    held_out: Points


@dataclass(frozen=True)
class WayBack:
    """The run went back from a step to an earlier one."""

    step: int
    back_to: int
    found: str


@dataclass(frozen=True)
class Canaries:
    """Loss of made-up rows that were inserted so many times an epoch."""

    times: int
    start: float
    """Before training, in nats per supervised token."""
    end: float
    """At the published step."""

    @property
    def label(self) -> str:
        """How often they were inserted, in words."""
        often = {0: "never inserted", 1: "once an epoch", 2: "twice an epoch"}
        return often.get(self.times, f"{self.times} times an epoch")


@dataclass(frozen=True)
class Curve:
    """One run by optimiser step: its batches, and the fixed samples of trained and of held-out rows."""

    name: str
    """loss, or of a method that has no loss to look at, reward"""
    unit: str
    batches: Points
    trained: Points
    held_out: Points
    gain_gap: Points
    """How much more trained rows had gained than held-out rows, in the unit of the loss."""
    measures: tuple[Measure, ...]
    canaries: tuple[Canaries, ...]
    published: int | None
    """The step whose weights are the result."""
    ways_back: tuple[WayBack, ...]
    max_gain_gap: float | None
    """What the config takes for learning by heart."""

    @property
    def sentences(self) -> list[str]:
        """What became of the run, in words."""
        return list(_sentences(self))

    @property
    def table(self) -> list[tuple[str, float | None, float | None, float | None]]:
        """What is drawn: its name, the first value, the one at the published step, the last."""
        samples = [(self.name, self.trained, self.held_out)]
        samples += [(one.title, one.trained, one.held_out) for one in self.measures]
        named = [(f"{self.name}, {BATCHES}", self.batches)]
        for name, trained, held_out in samples:
            named += [(f"{name}, {TRAINED}", trained), (f"{name}, {HELD_OUT}", held_out)]
        step = self.published
        return [
            (name, points[0][1], None if step is None else value_at(points, step), points[-1][1])
            for name, points in named
            if points
        ]


def read_curve(node: Node | None) -> Curve:
    """The curve of a train stage; empty where nothing was recorded.

    Raises:
        ManifestError: a file does not have the form that its stage writes.
    """
    rows, ledger = _rows(node), _ledger(node)
    settings = node.manifest.config if node is not None and node.manifest is not None else {}
    method = str(ledger.get("method") or settings.get("method") or "sft")
    name = "reward" if method == "grpo" else "loss"
    published = ledger.get("published_step")
    published = published if isinstance(published, int) else None
    return Curve(
        name=name,
        unit=UNITS.get(method, TOKENS),
        batches=_points(rows, name),
        trained=_points(rows, f"trained_{name}"),
        held_out=_points(rows, f"held_out_{name}"),
        gain_gap=_points(rows, "gain_gap"),
        measures=tuple(_measures(rows, method)),
        canaries=tuple(_canaries(rows, published)),
        published=published,
        ways_back=tuple(_ways_back(ledger)),
        max_gain_gap=_number((settings.get("watch") or {}).get("max_gain_gap")),
    )


def value_at(points: Points, step: int | None) -> float | None:
    """The last value at or before a step; null takes the last of all."""
    known = [value for at, value in points if step is None or at <= step]
    return known[-1] if known else None


def _rows(node: Node | None) -> list[dict[str, Any]]:
    path = node.folder / "metrics.jsonl" if node else None
    if path is None or not path.is_file():
        return []
    try:
        return [row for line in path.read_bytes().splitlines() if isinstance(row := json.loads(line), dict)]
    except ValueError as error:
        raise ManifestError("the metrics of training cannot be read", where=str(path), found=str(error)) from error


def _ledger(node: Node | None) -> dict[str, Any]:
    path = node.folder / "ledger.json" if node else None
    if path is None or not path.is_file():
        return {}
    try:
        found = json.loads(path.read_bytes())
    except ValueError as error:
        raise ManifestError("the ledger of training cannot be read", where=str(path), found=str(error)) from error
    return found if isinstance(found, dict) else {}


def _number(value: Any) -> float | None:
    fits = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    return float(value) if fits else None


def _points(rows: list[dict[str, Any]], name: str) -> Points:
    found = ((row.get("step"), _number(row.get(name))) for row in rows)
    return tuple((step, value) for step, value in found if isinstance(step, int) and value is not None)


def _measures(rows: list[dict[str, Any]], method: str) -> Iterator[Measure]:
    titles = {
        "accuracy": f"share of {SHARES.get(method, 'supervised tokens')} right",
        "rewards_accuracies": "share of pairs right",
        "margin": "mean margin of the better answer",
        "rewards_margins": "mean margin of the better answer",
    }
    for name, title in titles.items():
        measure = Measure(title, _points(rows, f"trained_{name}"), _points(rows, f"held_out_{name}"))
        if measure.trained or measure.held_out:
            yield measure


def _canaries(rows: list[dict[str, Any]], published: int | None) -> Iterator[Canaries]:
    names = {match[0]: int(match[1]) for row in rows for key in row if (match := CANARY.fullmatch(key))}
    for name, times in sorted(names.items(), key=lambda item: item[1]):
        points = _points(rows, name)
        end = value_at(points, published)
        if end is not None:
            yield Canaries(times, points[0][1], end)


def _ways_back(ledger: dict[str, Any]) -> Iterator[WayBack]:
    made = ledger.get("rollbacks")
    for one in made if isinstance(made, list) else ():
        if isinstance(one, dict) and isinstance(one.get("step"), int) and isinstance(one.get("back_to"), int):
            yield WayBack(one["step"], one["back_to"], str(one.get("found", "")))


def _sentences(curve: Curve) -> Iterator[str]:
    step = curve.published
    if step is not None:
        last = curve.batches[-1][0] if curve.batches else step
        yield f"the weights after step {step} are the result" + (f", not those of step {last}" if last != step else "")
    for one in curve.ways_back:
        yield f"at step {one.step} training went back to step {one.back_to}: {one.found}"
    gap = value_at(curve.gain_gap, step)
    if gap is not None:
        limit = curve.max_gain_gap
        over = "" if limit is None or gap <= limit else f", and more than {limit:g} is taken for learning by heart"
        yield f"gain gap, how much more trained rows gained than held-out rows: {gap:+.3f} ({curve.unit}){over}"
