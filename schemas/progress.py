"""Progress on stderr: what is being done, how fast, and how long it will still take."""

from __future__ import annotations

import os
import shutil
import sys
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self, TextIO

from schemas.terminal import printable

PLAIN_INTERVAL_S = 10.0
"""A line at most this often where the output is not a terminal."""
REDRAW_INTERVAL_S = 0.2
PATIENCE_S = 2.0
"""What is done within this time needs no progress."""
STEADY_S = 0.5
"""A rate measured over less time than this says nothing yet."""


class Progress:
    """One line that is redrawn on a terminal, a line every few seconds elsewhere, nothing when quiet.

    It keeps the stderr it was made with, since a library's own output may be hidden by redirecting stderr.

    Args:
        quiet: show nothing.
        patience_s: show nothing before this time has passed, and leave no line of a part that took less; a log, which
            keeps its lines, waits for at least as long as it waits between two of them.
        stream: where it is shown; by default stderr.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        *,
        quiet: bool = False,
        patience_s: float = 0.0,
        stream: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._quiet = quiet
        self._redraws = not quiet and self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._clock = clock
        self._patience = max(patience_s, PLAIN_INTERVAL_S) if patience_s and not self._redraws else patience_s
        self._next = clock() + self._patience
        self._what = self._part = ""
        self._unit = "rows"
        self._open = False
        self._last = self._next
        self._lock = threading.RLock()
        self._restart(0)

    def __enter__(self) -> Self:
        """The progress itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """As `end`."""
        self.end()

    def begin(self, what: str, unit: str = "rows") -> None:
        """Name what runs from now on, and what `advance` counts; bytes are shown as megabytes."""
        with self._lock:
            self._what, self._unit, self._part = printable(what), unit, ""
            self._restart(0)
            if what and self._due(self._start):
                self._show(self._what)

    def advance(self, done: int, total: int) -> None:
        """Show how far it is."""
        self._report(self._what, self._unit, done, total)

    def part(self, name: str, done: int, total: int, unit: str = "rows") -> None:
        """How far a part of what runs is.

        Its rate counts from the first call with its name, since other work may lie between it and the part before; only
        that first call counts from the last one of any name.
        """
        with self._lock:
            first, self._part = name != self._part, name
            if first:
                self._start, self._base = self._last, 0
            self._report(f"{self._what}, {name}" if self._what else name, unit, done, total)
            if first:
                self._restart(done)

    def beside(self, what: str) -> Progress:
        """A progress for one of several things that run at the same time, which shows its parts under its own name."""
        return _Beside(self, what)

    def say(self, text: str) -> None:
        """A line that stays."""
        if not self._quiet:
            self.end()
            self._stream.write(text + "\n")
            self._stream.flush()

    def end(self) -> None:
        """Give the terminal back: no half-drawn line is left on it."""
        if self._open:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._open = False

    def _restart(self, done: int) -> None:
        self._start, self._base = self._clock(), done
        self._last = self._start

    def _report(self, what: str, unit: str, done: int, total: int) -> None:
        now = self._last = self._clock()
        ended = done >= total and now - self._start >= self._patience
        if not (self._due(now) or (ended and not self._quiet)):
            return
        text = f"{what}: {_counted(done, total, unit)}"
        seconds = now - self._start
        if done > self._base and (seconds >= STEADY_S or done >= total):
            rate = (done - self._base) / max(seconds, 1e-9)
            text += f"  {_rate(rate, unit)}"
            if done < total:
                text += f"  {duration((total - done) / rate)} left"
        self._show(text, stays=ended)

    def _due(self, now: float) -> bool:
        if self._quiet or now < self._next:
            return False
        self._next = now + (REDRAW_INTERVAL_S if self._redraws else PLAIN_INTERVAL_S)
        return True

    def _show(self, text: str, stays: bool = False) -> None:
        if self._redraws:
            width = shutil.get_terminal_size().columns
            self._stream.write(f"\r\x1b[K{text[: max(width - 1, 20)]}" + ("\n" if stays else ""))
            self._open = not stays
        else:
            self._stream.write(text + "\n")
        self._stream.flush()


class _Beside(Progress):
    """Shows parts on a progress that other work shows its parts on as well."""

    def __init__(self, shown: Progress, what: str) -> None:
        super().__init__(quiet=True)
        self._shown, self._name = shown, what

    def part(self, name: str, done: int, total: int, unit: str = "rows") -> None:
        """As `Progress.part`, under the name of this work."""
        with self._shown._lock:
            if self._shown._what != printable(self._name):
                self._shown.begin(self._name)
            self._shown.part(name, done, total, unit)


SILENT = Progress(quiet=True)
"""For callers that show nothing."""


def _counted(done: int, total: int, unit: str) -> str:
    if unit == "bytes":
        return f"{done / 1e6:,.1f}/{total / 1e6:,.1f} MB"
    return f"{done:,}/{total:,} {unit}"


def _rate(rate: float, unit: str) -> str:
    if unit == "bytes":
        return f"{rate / 1e6:,.1f} MB/s"
    return f"{rate:,.{1 if rate < 100 else 0}f} {unit}/s"


def duration(seconds: float) -> str:
    """A length of time for people: `48s`, `3m 05s`, `2h 07m`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
