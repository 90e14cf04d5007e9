"""Text that need not fit in memory: it lies in files that have no name, mapped into memory page by page as it is read.

The system drops such pages when memory is short and reads them again when they are asked for. A file without a name
takes space until the process ends, however it ends, and leaves nothing behind. pyarrow does the mapping; without it,
text stays in memory.
"""

from __future__ import annotations

import gzip
import hashlib
import importlib.util
import math
import mmap
import stat
import tempfile
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.frame_file import FrameFile, addresses
from schemas.atomic import readable_disk_errors
from schemas.errors import UserError

SPILL_BYTES = 64_000_000
"""Sources that together are smaller than this stay in memory, unless the user names another size."""
PART_BYTES = 8 << 20
"""Text that is worked on at a time: few enough bytes that their memory is used again and again."""
BLOCK_BYTES = 1 << 22
RESIDENT_BYTES = 4 << 20
"""Mapped bytes that may be in memory: a scan needs each page once, and one that is asked for again costs little."""
WATCH_S = 0.002
TEMPORARY = "by the variable TMPDIR"
Bytes = bytes | mmap.mmap


@dataclass(frozen=True)
class Spill:
    """Where such files are made: a folder on a disk, not in memory."""

    folder: Path
    chosen: str = "with --out"
    """How a person chooses another one, in words."""
    _maps: weakref.WeakKeyDictionary[mmap.mmap, tuple[int, int]] = field(
        default_factory=weakref.WeakKeyDictionary, repr=False, compare=False
    )
    """What of it is mapped into memory now, and at which addresses."""
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False, compare=False)

    def frame(self, frame: pl.DataFrame) -> pl.DataFrame:
        """The same frame with its values on disk."""
        return self.frames([frame])

    def frames(self, parts: Iterable[pl.DataFrame]) -> pl.DataFrame:
        """Frames one after the other, as one, with their values on disk; there is at least one.

        Raises:
            UserError: the disk is full or refuses.
        """
        with self.frame_file() as file:
            for part in parts:
                file.add(part)
            return file.frame()

    @contextmanager
    def frame_file(self) -> Iterator[FrameFile]:
        """A file that takes frames until the block ends; those that it gave live on.

        Raises:
            UserError: the disk is full or refuses.
        """
        with self._lock:
            others = list(self._maps.items())
        with self._nameless() as file:
            yield FrameFile(file, self._mapped, others)

    def array(self, shape: tuple[int, ...], dtype: str) -> NDArray[Any]:
        """Zeros on disk, to be written and read.

        Raises:
            UserError: the disk is full or refuses.
        """
        size = math.prod(shape) * np.dtype(dtype).itemsize
        if not size:
            return np.zeros(shape, dtype)
        with self._nameless() as file:
            # A page for which the disk has no room once it is written to would kill the process.
            for start in range(0, size, BLOCK_BYTES):
                file.write(bytes(min(BLOCK_BYTES, size - start)))
            file.flush()
            mapped = self._mapped(file, mmap.ACCESS_WRITE)
        return np.frombuffer(mapped, dtype).reshape(shape)

    def numbers(self, parts: Iterable[NDArray[Any]], dtype: Any) -> NDArray[Any]:
        """Arrays of one dimension and this type, one after the other, as one on disk, to be written and read.

        Raises:
            UserError: the disk is full or refuses.
        """
        with self._nameless() as file:
            for part in parts:
                file.write(np.ascontiguousarray(part, dtype).data)
            file.flush()
            if not file.tell():
                return np.zeros(0, dtype)
            mapped = self._mapped(file, mmap.ACCESS_WRITE)
        return np.frombuffer(mapped, dtype)

    def copy(self, blocks: Iterable[bytes]) -> tuple[Bytes, str]:
        """Bytes one block after the other, as one, and their sha256.

        Users' own files are copied and not mapped: should somebody cut one off meanwhile, reading a page behind its new
        end would kill the process.
        """
        digest = hashlib.sha256()
        with self._nameless() as file:
            for block in blocks:
                digest.update(block)
                file.write(block)
            file.flush()
            # A file of no bytes cannot be mapped.
            mapped = self._mapped(file) if file.tell() else b""
        return mapped, digest.hexdigest()

    def release(self) -> None:
        """Take what is mapped out of this process's memory; a page that is read again comes back from the disk's cache.

        The system does the same, but only once memory is short for all.
        """
        if hasattr(mmap, "MADV_DONTNEED"):
            with self._lock:
                maps = list(self._maps)
            for mapped in maps:
                mapped.madvise(mmap.MADV_DONTNEED)

    def kept_small(self) -> Spill:
        """Itself, with a thread that calls `release` whenever more than RESIDENT_BYTES of it have come into memory."""
        threading.Thread(target=_watch, args=(weakref.ref(self),), daemon=True, name="spill").start()
        return self

    def _mapped(self, file: IO[bytes], access: int = mmap.ACCESS_READ) -> mmap.mmap:
        mapped = mmap.mmap(file.fileno(), 0, access=access)
        with self._lock:
            self._maps[mapped] = addresses(mapped)
        return mapped

    @contextmanager
    def _nameless(self) -> Iterator[IO[bytes]]:
        """A file that no name leads to; maps of it live on when the block ends.

        Raises:
            UserError: the disk is full or refuses.
        """
        with (
            readable_disk_errors(self.folder, only_named=True, chosen=self.chosen),
            tempfile.TemporaryFile(dir=self.folder, prefix=".assay-spill-") as file,
        ):
            yield file


def _watch(watched: weakref.ref[Spill]) -> None:
    """Keep what is mapped small until nobody uses it any more."""
    least = _resident()
    while (spill := watched()) is not None:
        if _resident() - least > RESIDENT_BYTES:
            spill.release()
            least = _resident()  # libraries, which stay
        del spill
        time.sleep(WATCH_S)


def _resident() -> int:
    """Bytes of files that are in this process's memory, its libraries included."""
    with open("/proc/self/statm", "rb") as numbers:
        return int(numbers.read().split()[2]) * mmap.PAGESIZE


def size_of(path: Path) -> int:
    """Bytes of a file; 0 of what is no file, or cannot be looked at: whoever reads it says so."""
    try:
        found = path.stat()
    except OSError:
        return 0
    return found.st_size if stat.S_ISREG(found.st_mode) else 0


def blocks_of(file: IO[bytes] | gzip.GzipFile) -> Iterator[bytes]:
    """What a file holds from here on."""
    while block := file.read(BLOCK_BYTES):
        yield block


def spill_for(paths: Iterable[Path], folder: Path | None, memory_mb: int | None = None) -> Spill | None:
    """Whether sources are large enough to lie on disk while they are worked on, and where.

    Args:
        paths: the sources; what cannot be looked at counts as small.
        folder: a folder for files without names; null for the system's own, see TMPDIR.
        memory_mb: size in megabytes from which on they do; null for SPILL_BYTES.

    Raises:
        UserError: there is no temporary folder to be had.
    """
    size = sum(map(size_of, paths))
    most = SPILL_BYTES if memory_mb is None else memory_mb * 1_000_000
    if size < most or importlib.util.find_spec("pyarrow") is None:
        return None
    spill = Spill(_temporary(), TEMPORARY) if folder is None else Spill(folder)
    return spill.kept_small() if Path("/proc/self/statm").exists() else spill


def _temporary() -> Path:
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        raise UserError(
            "there is no folder for temporary files that can be written to",
            found=str(error),
            help=f"choose one {TEMPORARY}, or let the rows stay in memory with a larger --memory",
        ) from error


def stored(values: NDArray[Any], spill: Spill | None) -> NDArray[Any]:
    """Numbers [n] that are kept for long: with a spill, on disk."""
    return values if spill is None else spill.numbers([values], values.dtype)


def zeros(shape: tuple[int, ...], dtype: str, spill: Spill | None) -> NDArray[Any]:
    """Zeros that are kept for long: with a spill, on disk."""
    return np.zeros(shape, dtype) if spill is None else spill.array(shape, dtype)


def frame_parts(rows: pl.DataFrame, size: pl.Expr) -> Iterator[tuple[int, int]]:
    """(first row, number of rows) of consecutive parts of a frame.

    Args:
        rows: any frame.
        size: bytes of each row; a part holds about PART_BYTES, and at least one row.
    """
    part = rows.select(part=size.cast(pl.Int64).cum_sum() // PART_BYTES)["part"]
    start = 0
    for length in part.rle().struct.field("len"):
        yield start, length
        start += length


def in_parts(
    frame: pl.DataFrame, size: pl.Expr, spill: Spill | None, compute: Callable[[pl.DataFrame], pl.DataFrame]
) -> pl.DataFrame:
    """`compute(frame)` for a function that looks at each row by itself; with a spill, part by part onto disk."""
    if spill is None or frame.is_empty():
        return compute(frame)
    return spill.frames(compute(frame.slice(*part)) for part in frame_parts(frame, size))
