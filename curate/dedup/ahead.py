"""Compiling in another process while this one compiles as well: the first search on a machine waits for half of it.

What decides about a pair is a third of all compiled code, and is not needed before the sketches are done.
"""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from typing import Any

COMMAND = "from curate.dedup.ahead import compile_judge; compile_judge()"


class Ahead:
    """A process that compiles `verify.judge`, where that is not in the cache and there is a core for it."""

    def __init__(self) -> None:
        from curate.dedup.compiled import cache_folder

        self._process: subprocess.Popen[bytes] | None = None
        folder = cache_folder()
        if folder is None or any(folder.glob("**/verify.judge-*.nbi")) or (os.cpu_count() or 1) == 1:
            return
        with suppress(OSError):  # no process to be had: what it was to compile is compiled here
            self._process = subprocess.Popen(
                [sys.executable, "-c", COMMAND],
                env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "PYTHONSAFEPATH": "1"},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )

    def wait(self) -> None:
        """Until it has ended. If it failed, what it was to compile is compiled here."""
        if self._process is not None:
            self._process.wait()


def compile_judge() -> None:
    """Compile `verify.judge` for what `verify.judge_pairs` calls it with."""
    from numba import types

    from curate.dedup import verify

    judge: Any = verify.judge
    tokens, marks, numbers = (types.Array(kind, 1, "C") for kind in (types.uint64, types.uint32, types.int64))
    row = (tokens, marks, types.int64)
    size = types.Tuple([types.int64] * 3 + [types.boolean] * 2)
    judge.compile((*row, *row, size, types.float64, numbers, numbers, types.Array(types.uint64, 2, "C")))
