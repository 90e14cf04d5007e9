"""What a person sees and what a file keeps while a model trains."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from schemas.atomic import sync, write_atomic
from schemas.progress import PLAIN_INTERVAL_S, duration


class MetricsLog:
    """`metrics.jsonl`: one JSON object per optimiser step; no times, so that the same training gives the same bytes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def rewind(self, step: int) -> None:
        """Keep the records up to a step: the ones after the checkpoint that a run resumes from are written again."""
        kept = []
        if self.path.exists():
            for line in self.path.read_bytes().splitlines(keepends=True):
                if not line.endswith(b"\n") or json.loads(line)["step"] > step:
                    break
                kept.append(line)
        write_atomic(self.path, b"".join(kept))

    def write(self, record: dict[str, Any]) -> None:
        """Append one record."""
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

    def say(self, text: str) -> None:
        """See `View`."""
        sys.stderr.write(text + "\n")
        sys.stderr.flush()

    def end(self) -> None:
        """See `View`."""


class TerminalView:
    """A bar that is redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            TextColumn("training"),
            BarColumn(),
            TextColumn("step {task.completed:.0f}/{task.total:.0f}  {task.fields[status]}", markup=False),
            console=console,
            transient=True,
        )

    def begin(self, step: int, steps: int, tokens_left: int) -> None:
        """See `View`."""
        self._rate = Rate(tokens_left)
        self._task = self._progress.add_task("training", total=steps, completed=step, status="")
        self._progress.start()

    def advance(self, step: int, tokens: int, loss: float) -> None:
        """See `View`."""
        self._rate.count(tokens)
        status = f"loss {loss:.4f}  {self._rate.per_second:,.0f} tokens/s  {duration(self._rate.seconds_left)} left"
        self._progress.update(self._task, completed=step, status=status)

    def say(self, text: str) -> None:
        """See `View`."""
        self._progress.console.print(text, markup=False, highlight=False)

    def end(self) -> None:
        """See `View`."""
        self._progress.stop()


class SilentView:
    """Shows nothing."""

    def begin(self, step: int, steps: int, tokens_left: int) -> None:
        """See `View`."""

    def advance(self, step: int, tokens: int, loss: float) -> None:
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
