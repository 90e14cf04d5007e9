"""The text of a JSON lines file as a Series, for a search among rows that are nothing but text."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

_CHUNK = 2 << 20  # bytes read and parsed by one task, and up to the end of their last line
_BUFFER = 1 << 30  # places in an Arrow buffer are kept in 32 bits
_LONGEST = 1 << 29
_LOOK = 1 << 16  # bytes looked at for the end of a line
_APART = 64  # behind its text, a task may write up to a block more

_own = threading.local()


def read_texts(path: Path, field: str = "text", workers: int | None = None) -> pl.Series:
    """One string field of a JSON lines file.

    A compiled kernel reads plain lines: valid JSON objects, one a line, that hold the field once, as a string or null,
    or not at all. Where one line is not plain, and without pyarrow, polars reads the whole file.

    Args:
        path: the file, UTF-8.
        field: the name of the field.
        workers: threads; all cores when null. The result does not depend on it.

    Returns:
        String Series, a row a line; null where the field is null or absent.

    Raises:
        polars.exceptions.ComputeError: a line is no JSON, or the field is no string.
        OSError: the file cannot be read.
    """
    found = _plain(path, field, workers or os.cpu_count() or 1) if find_spec("pyarrow") else None
    if found is not None:
        return found
    return pl.scan_ndjson(path, schema={field: pl.String}, low_memory=True).collect()[field]


def _plain(path: Path, field: str, workers: int) -> pl.Series | None:
    """The field where every line is plain, otherwise null."""
    name = np.frombuffer(field.encode(), np.uint8)
    descriptor = os.open(path, os.O_RDONLY)
    try:
        cuts = _cuts(descriptor, os.fstat(descriptor).st_size)
        if cuts is None:
            return None
        places, rooms = _places(cuts)
        buffers = [np.empty(room, np.uint8) for room in rooms]

        def work(chunk: int) -> tuple[Any, Any] | None:
            number, place = places[chunk]
            return _read(descriptor, (cuts[chunk], cuts[chunk + 1]), name, (buffers[number], place, number))

        with ThreadPoolExecutor(workers) as pool:
            parts = list(pool.map(work, range(len(places))))
    finally:
        os.close(descriptor)
    read = [part for part in parts if part is not None]
    return _series(field, read, buffers) if read and len(read) == len(parts) else None


def _places(cuts: list[int]) -> tuple[list[tuple[int, int]], list[int]]:
    """(number of its buffer and place in it for each chunk, bytes of each buffer)."""
    places: list[tuple[int, int]] = []
    rooms: list[int] = []
    for start, stop in pairwise(cuts):
        if not rooms or rooms[-1] > _BUFFER:
            rooms.append(0)
        places.append((len(rooms) - 1, rooms[-1]))
        rooms[-1] += stop - start + _APART
    return places, rooms


def _cuts(descriptor: int, size: int) -> list[int] | None:
    """Places between lines, about a chunk apart, from 0 to the end of the file; null where a line is very long."""
    cuts = [0]
    while size - cuts[-1] > _CHUNK:
        at = cuts[-1] + _CHUNK
        while at < size:
            seen = os.pread(descriptor, _LOOK, at)
            newline = seen.find(b"\n")
            if newline >= 0 or not seen:
                at += newline + 1
                break
            at += len(seen)
        if at - cuts[-1] > _LONGEST:
            return None
        cuts.append(min(at, size))
    return [*cuts, size] if cuts[-1] < size else cuts


def _read(
    descriptor: int, span: tuple[int, int], name: NDArray[np.uint8], room: tuple[NDArray[np.uint8], int, int]
) -> tuple[NDArray[np.uint32], NDArray[np.bool_]] | None:
    """(views, missing) of the lines between two places of the file; null where one is not plain."""
    from curate.dedup.json_kernel import PADDING, count_lines, read_lines

    (start, stop), (buffer, place, number) = span, room
    length = stop - start
    held = getattr(_own, "lines", None)
    if held is None or len(held) < length + 1 + PADDING:
        held = _own.lines = np.empty(max(length, _CHUNK + _LOOK) + 1 + PADDING, np.uint8)
    room_for_text: Any = held[:length]
    if os.preadv(descriptor, [room_for_text], start) != length:
        return None  # the file has become shorter
    if held[length - 1] != 10:  # the last line of a file may lack its newline
        held[length] = 10
        length += 1
    held[length : length + PADDING] = 0
    source = np.uint64(held.ctypes.data)
    lines = count_lines(source, length)
    views, missing = np.empty((lines, 4), np.uint32), np.empty(lines, np.bool_)
    target = np.uint64(buffer.ctypes.data)
    return (views, missing) if read_lines(source, length, name, (target, place, number), views, missing) else None


def _series(field: str, read: list[tuple[Any, Any]], buffers: list[NDArray[np.uint8]]) -> pl.Series:
    """A Series over the buffers, which are not copied."""
    import pyarrow as pa

    views, missing = (np.concatenate([part[side] for part in read]) for side in (0, 1))
    valid = pa.py_buffer(np.packbits(~missing, bitorder="little")) if missing.any() else None
    parts = [valid, pa.py_buffer(views), *(pa.py_buffer(buffer) for buffer in buffers)]
    series = pl.from_arrow(pa.Array.from_buffers(pa.string_view(), len(views), parts))
    assert isinstance(series, pl.Series)
    return series.alias(field)
