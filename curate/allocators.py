"""How this process gives memory back that is free. To be asked for before any thread is started."""

from __future__ import annotations

import ctypes
import gc
import os

ARENAS = 2
"""Places that glibc takes memory from: each thread with one of its own would keep what another one could use."""
M_ARENA_MAX = -8
"""The parameter's number, see mallopt(3)."""
M_MMAP_THRESHOLD = -3
MAPPED_BYTES = 1 << 20
"""Blocks of this size and more go back to the system once they are free; glibc raises its own bound to 32 MiB."""
YOUNG_OBJECTS = 100_000
"""New objects after which cycles among them are looked for: modules, parsed rows and findings are trees, nearly all."""


def few_searches() -> None:
    """Let Python look for cycles of objects seldom: with its own 700, that is a tenth of a short command's time."""
    gc.set_threshold(YOUNG_OBJECTS)


def few_arenas() -> None:
    """Let all threads share a few arenas, where the C library is glibc."""
    _tell_glibc(M_ARENA_MAX, ARENAS)


def _tell_glibc(parameter: int, value: int) -> None:
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(parameter, value)


def at_once() -> None:
    """Let numpy and polars give free memory back at once, and not only when memory is short: slower, and much smaller.

    The allocator of polars reads this when polars is imported.
    """
    _tell_glibc(M_MMAP_THRESHOLD, MAPPED_BYTES)
    os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:0,muzzy_decay_ms:0")
