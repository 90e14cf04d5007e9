"""What happens to a command from inside its process: it dies at a step of its writing, or its clock jumps."""

import datetime
import os
import signal
import sys
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

STEPS = frozenset(("open", "os.mkdir", "os.remove", "os.rename", "os.rmdir", "os.truncate", "sqlite3.connect"))
"""Audit events of Python; renaming includes replacing. Libraries that write by themselves raise none."""
OURS = ("assay", "curate", "evals", "schemas", "train")


def die_at(folder: str, last: int) -> Callable[[], int]:
    """Kill this process with SIGKILL at the n-th time that it opens, makes, renames or removes something in a folder.

    Returns:
        How often it did so far; with 0 as `last` it lives.
    """
    touched = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal touched
        if event in STEPS and any(inside(given) for given in arguments[: 1 + (event == "os.rename")]):
            touched += 1
            if touched == last:
                os.kill(os.getpid(), signal.SIGKILL)

    def inside(given: Any) -> bool:
        if not isinstance(given, str | bytes | os.PathLike):
            return False
        return Path(os.path.abspath(os.fsdecode(given))).is_relative_to(folder)

    sys.addaudithook(watch)
    return lambda: touched


def stop_at(paths: Collection[str], last: int) -> None:
    """Stop this process with SIGSTOP just before it opens one of some files for the n-th time."""
    opened = 0

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal opened
        given = arguments[0] if event == "open" else None
        if isinstance(given, str | bytes | os.PathLike) and os.path.abspath(os.fsdecode(given)) in paths:
            opened += 1
            if opened == last:
                os.kill(os.getpid(), signal.SIGSTOP)

    sys.addaudithook(watch)


def jump(moment: float, by_s: float) -> None:
    """Let the wall clock of this process go wrong by some seconds from a moment of the monotonic clock on."""
    real = time.time

    def offset() -> float:
        return by_s if time.monotonic() >= moment else 0.0

    class Jumping(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> Any:
            return cls.fromtimestamp(real() + offset(), tz)

    plain = datetime.datetime
    time.time = lambda: real() + offset()
    datetime.datetime = Jumping  # type: ignore[misc]
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] in OURS and getattr(module, "datetime", None) is plain:
            vars(module)["datetime"] = Jumping
