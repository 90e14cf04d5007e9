"""What a person sees and what a file keeps while a model trains."""

from __future__ import annotations

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, Progress, TextColumn
from rich.text import Text

from schemas.atomic import sync, write_atomic
from schemas.progress import PLAIN_INTERVAL_S, duration
from train.processes import is_main_process


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """The records of `metrics.jsonl`, the oldest first."""
    return [json.loads(line) for line in path.read_bytes().splitlines()]


class MetricsLog:
    """`metrics.jsonl`: one JSON object per optimiser step; no times, so that the same training gives the same bytes.

    Of several processes only the main one writes; the others keep the same records in memory.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[dict[str, Any]] = []
        """The oldest first; `rewind` reads those of an earlier process."""

    def rewind(self, step: int) -> None:
        """Keep the records up to a step: the ones after the checkpoint that a run resumes from are written again."""
        kept = []
        if self.path.exists():
            for line in self.path.read_bytes().splitlines(keepends=True):
                if not line.endswith(b"\n") or json.loads(line)["step"] > step:
                    break
                kept.append(line)
        self.records = [json.loads(line) for line in kept]
        if is_main_process():
            write_atomic(self.path, b"".join(kept))

    def write(self, record: dict[str, Any]) -> None:
        """Append one record."""
        self.records.append(record)
        if not is_main_process():
            return
        with self.path.open("ab") as stream:
            stream.write(json.dumps(record, allow_nan=False).encode("ascii") + b"\n")

    def sync(self) -> None:
        """Bring all records to the disk, before a checkpoint that relies on them is declared complete."""
        if self.path.exists():
            sync(self.path)


class View(Protocol):
    """Where progress is shown."""

    def begin(self, step: int, steps: int, tokens_left: int) -> None:
        """Start the clock, at the step that training starts or resumes from."""

    def advance(self, step: int, tokens: int, loss: float) -> None:
        """One more optimiser step: its row tokens without padding, and its loss in nats per supervised token."""

    def measured(self, step: int, found: Mapping[str, float]) -> None:
        """What was measured on fixed samples after a step: `held_out_loss`, `trained_loss`, `gain_gap` and others."""

    def say(self, text: str) -> None:
        """A line that stays."""

    def end(self) -> None:
        """Give the terminal back."""


class Rate:
    """Tokens per second since training began in this process, and the time left at that rate."""

    def __init__(self, tokens_left: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._start = clock()
        self._done = 0
        self._left = tokens_left

    def count(self, tokens: int) -> None:
        """Tokens that were just trained."""
        self._done += tokens
        self._left -= tokens

    @property
    def per_second(self) -> float:
        """Tokens per second; 0 before the first step."""
        return self._done / max(self._clock() - self._start, 1e-9)

    @property
    def seconds_left(self) -> float:
        """At the rate so far; 0 before the first step."""
        return self._left / self.per_second if self._done else 0.0


class PlainView:
    """Lines on stderr, every few seconds."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._next = 0.0

    def begin(self, step: int, steps: int, tokens_left: int) -> None:
        """See `View`."""
        self._steps = steps
        self._rate = Rate(tokens_left, self._clock)
        self._next = self._clock()

    def advance(self, step: int, tokens: int, loss: float) -> None:
        """See `View`."""
        self._rate.count(tokens)
        if self._clock() >= self._next or step == self._steps:
            self._next = self._clock() + PLAIN_INTERVAL_S
            self.say(
                f"step {step}/{self._steps}  loss {loss:.4f}  {self._rate.per_second:,.0f} tokens/s  "
                f"{duration(self._rate.seconds_left)} left"
            )

    def measured(self, step: int, found: Mapping[str, float]) -> None:
        """See `View`."""
        self.say(measured_line(step, found))

    def say(self, text: str) -> None:
        """See `View`."""
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def end(self) -> None:
        """See `View`."""


class TerminalView:
    """A bar with both curves under it, redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("training"),
            BarColumn(),
            TextColumn("step {task.completed:.0f}/{task.total:.0f}  {task.fields[status]}", markup=False),
            console=console,
        )
        self._curves: dict[str, list[tuple[int, float]]] = {"loss": [], "held-out": []}
        self._live = Live(console=console, transient=True, auto_refresh=False)

    def begin(self, step: int, steps: int, tokens_left: int) -> None:
        """See `View`."""
        self._steps = steps
        self._rate = Rate(tokens_left)
        self._task = self._progress.add_task("training", total=steps, completed=step, status="")
        self._live.start()

    def advance(self, step: int, tokens: int, loss: float) -> None:
        """See `View`."""
        self._rate.count(tokens)
        self._curves["loss"].append((step, loss))
        status = f"loss {loss:.4f}  {self._rate.per_second:,.0f} tokens/s  {duration(self._rate.seconds_left)} left"
        self._progress.update(self._task, completed=step, status=status)
        self._draw()

    def measured(self, step: int, found: Mapping[str, float]) -> None:
        """See `View`."""
        if "held_out_loss" in found:
            self._curves["held-out"].append((step, found["held_out_loss"]))
        self.say(measured_line(step, found))
        self._draw()

    def say(self, text: str) -> None:
        """See `View`."""
        self._console.print(text, markup=False, highlight=False)

    def end(self) -> None:
        """See `View`."""
        self._live.stop()

    def _draw(self) -> None:
        lines = curve_lines(self._curves, self._steps, max(self._console.width - CURVE_MARGIN, 10))
        self._live.update(Group(self._progress, *(Text(line) for line in lines)), refresh=True)


BARS = "\u2581\u2582\u2583\u2584\u2585\u2586\u2587\u2588"
CURVE_MARGIN = 28


def curve_lines(curves: Mapping[str, Sequence[tuple[int, float]]], steps: int, width: int) -> list[str]:
    """Each curve as one line of bars, all on one scale: name, the mean of each stretch of steps, the last value.

    Args:
        curves: name -> (step, value), in the order of steps.
        steps: of the whole run; the line is as wide as they are.
        width: columns.
    """
    values = [value for curve in curves.values() for _, value in curve]
    if not values:
        return []
    low, high = min(values), max(values)
    lines = []
    for name, curve in curves.items():
        if not curve:
            continue
        cells: dict[int, list[float]] = {}
        for step, value in curve:
            cells.setdefault(min(step * width // max(steps, 1), width - 1), []).append(value)
        heights = {cell: (statistics.fmean(found) - low) / ((high - low) or 1.0) for cell, found in cells.items()}
        drawn = "".join(BARS[round(heights[cell] * 7)] if cell in heights else " " for cell in range(max(cells) + 1))
        lines.append(f"{name:>10} {drawn} {curve[-1][1]:.4f}")
    return lines


def measured_line(step: int, found: Mapping[str, float]) -> str:
    """What was measured, in words."""
    names = {"held_out_loss": "held-out loss", "trained_loss": "trained loss", "gain_gap": "gain gap"}
    names["general_loss"] = "neutral text"
    told = [f"{text} {found[name]:.4f}" for name, text in names.items() if name in found]
    told += [f"canaries x{name[7:-5]} {found[name]:.2f}" for name in sorted(found) if _is_canary(name)]
    return f"after step {step}: {', '.join(told)}"


def _is_canary(name: str) -> bool:
    return name.startswith("canary_") and name.endswith("_loss")


class SilentView:
    """Shows nothing."""

    def begin(self, step: int, steps: int, tokens_left: int) -> None:
        """See `View`."""

    def advance(self, step: int, tokens: int, loss: float) -> None:
        """See `View`."""

    def measured(self, step: int, found: Mapping[str, float]) -> None:
        """See `View`."""

    def say(self, text: str) -> None:
        """See `View`."""

    def end(self) -> None:
        """See `View`."""


def choose_view(quiet: bool) -> View:
    """A bar on a terminal, lines elsewhere, nothing when asked to be quiet."""
    if quiet:
        return SilentView()
    console = Console(stderr=True)
    return TerminalView(console) if console.is_terminal else PlainView()
