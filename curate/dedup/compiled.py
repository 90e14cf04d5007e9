"""The decorator of the compiled kernels. Importing this module imports numba.

numba keeps machine code on disk beside each source file and looks only at that file to see whether it is still
valid, although code of other files is compiled into it. Here the folder is named after the sources of all packages
with such kernels instead, so that a change to any of them compiles anew.
"""

from __future__ import annotations

import gc
import hashlib
import os
import pickle
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

# numba would load them, which takes longer than all of our code, to see whether there is BLAS, and functions of C.
_UNUSED = [name for name in ("scipy", "cffi") if name not in sys.modules]
sys.modules.update(dict.fromkeys(_UNUSED))  # type: ignore[arg-type]
try:
    import numba
    from numba.core import event, registry

    registry.cpu_target.target_context.refresh()
finally:
    for _name in _UNUSED:
        del sys.modules[_name]


class _NoCollection(event.Listener):  # type: ignore[misc]
    """While something is compiled, nothing is looked for that could be freed: that takes a tenth of the time.

    Kernels are compiled one at a time, and what they call while they are compiled.
    """

    def __init__(self) -> None:
        self._were_on: list[bool] = []

    def on_start(self, event: event.Event) -> None:
        self._were_on.append(gc.isenabled())
        gc.disable()

    def on_end(self, event: event.Event) -> None:
        if self._were_on.pop():
            gc.enable()


event.register("numba:compile", _NoCollection())
_CONFIG = threading.Lock()


@cache
def cache_folder() -> Path | None:
    """Where machine code is kept: $NUMBA_CACHE_DIR, or a folder under the user's cache; null where none is writable."""
    try:
        folder = Path(os.environ.get("NUMBA_CACHE_DIR") or _own_folder())
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            return folder
    except (OSError, RuntimeError):  # a user without a home
        return None


def _own_folder() -> Path:
    digest = hashlib.sha256()
    rooms = Path(__file__).parents[1]
    for source in sorted(path for room in ("contamination", "dedup") for path in (rooms / room).glob("*.py")):
        digest.update(source.read_bytes())
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "assay" / f"compiled-{digest.hexdigest()[:12]}"


def _at_best(cache: Any) -> None:
    """Let a function's cache be a help and no condition: on a full disk nothing is kept, and what is broken goes.

    What a machine had not yet written when it lost its power is an empty file, which numba would stumble over for ever.
    """
    load, save = cache.load_overload, cache.save_overload

    def load_if_whole(*given: Any) -> Any:
        try:
            return load(*given)
        except (OSError, EOFError, pickle.UnpicklingError):
            with suppress(OSError):
                cache.flush()
        return None

    def save_if_there_is_room(*given: Any) -> None:
        with suppress(OSError):
            save(*given)

    cache.load_overload, cache.save_overload = load_if_whole, save_if_there_is_room


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function to machine code that runs without the interpreter lock and is kept between processes."""
    return _compiled(function, cache=True)


def compiled_inner(function: Callable[..., Any]) -> Callable[..., Any]:
    """`compiled`, for functions that only compiled code calls, of which they become a part: nothing else is kept."""
    return _compiled(function, no_cpython_wrapper=True)


def compiled_part(function: Callable[..., Any]) -> Callable[..., Any]:
    """`compiled_inner`, kept between processes, so that another one can compile it: see `curate.dedup.ahead`."""
    return _compiled(function, cache=True, no_cpython_wrapper=True)


def _compiled(function: Callable[..., Any], *, cache: bool = False, **options: bool) -> Callable[..., Any]:
    folder = cache_folder()
    # Rules import kernels from several threads: another one's end would leave numba with the current folder.
    with _CONFIG:
        before = numba.config.CACHE_DIR
        try:
            numba.config.CACHE_DIR = str(folder or "")
            made: Callable[..., Any] = numba.njit(
                cache=cache and folder is not None,
                nogil=True,
                error_model="numpy",
                no_cfunc_wrapper=True,
                **options,
            )(function)
        finally:
            numba.config.CACHE_DIR = before
    if cache and folder is not None:
        _at_best(made._cache)  # type: ignore[attr-defined]
    return made
