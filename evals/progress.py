"""Progress of an evaluation on stderr: what is running, rate, time left."""

from __future__ import annotations

import sys
import time

from train.monitor import PLAIN_INTERVAL_S, duration


class Progress:
    """One line that is redrawn on a terminal, a line every few seconds elsewhere, nothing when quiet.

    It keeps the stderr it was made with, since the harness hides lm-eval's own output by redirecting stderr.
    """

    def __init__(self, *, quiet: bool = False) -> None:
        self._stream = sys.stderr
        self._quiet = quiet
        self._redraws = self._stream.isatty()
        self.begin("")

    def begin(self, what: str) -> None:
        """Name what runs from now on."""
        self._what = what
        self._start = time.monotonic()
        self._next = self._start

    def advance(self, done: int, total: int) -> None:
        """Show how far it is."""
        now = time.monotonic()
        if self._quiet or (now < self._next and done < total):
            return
        self._next = now + (0.2 if self._redraws else PLAIN_INTERVAL_S)
        rate = done / max(now - self._start, 1e-9)
        text = f"{self._what}: {done:,}/{total:,} rows  {rate:,.1f} rows/s"
        if done < total:
            text += f"  {duration((total - done) / rate)} left"
        self._stream.write(f"\r\x1b[K{text}" + ("\n" if done >= total else "") if self._redraws else f"{text}\n")
        self._stream.flush()

    def say(self, text: str) -> None:
        """A line that stays."""
        if not self._quiet:
            self._stream.write(text + "\n")
            self._stream.flush()
