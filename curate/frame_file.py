"""Frames whose columns lie in a file without a name, mapped into memory.

Buffers go to the file one behind the other, as Arrow lays them out. What lies on disk already stays where it is: of a
column of text only the views are written, 16 bytes a row, so that a choice of rows takes little room. Arrow's IPC
format would write the text again with every frame that refers to it.

Layout: Arrow columnar format, "Variable-size Binary View Layout".
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

import numpy as np
import polars as pl

if TYPE_CHECKING:
    import mmap

    from numpy.typing import NDArray

ALIGNMENT = 64
SEGMENT_BITS = 30
"""Views hold offsets of 32 bits: text is addressed from the last multiple of 1 GiB before it."""
INLINE_BYTES = 12


@dataclass(frozen=True)
class Written:
    """A buffer in the file."""

    start: int
    size: int | None = None
    """Null for all that follows."""


@dataclass(frozen=True)
class Chunk:
    """One piece of a column, each of its buffers in the file, or where it was, or missing."""

    type: Any
    length: int
    nulls: int
    lead: int
    """Values of the buffers that come before the first."""
    buffers: list[Any]

    def array(self, file: Any) -> Any:
        """The Arrow array over the mapped file."""
        import pyarrow as pa

        def found(buffer: Any) -> Any:
            return file.slice(buffer.start, buffer.size) if isinstance(buffer, Written) else buffer

        return pa.Array.from_buffers(self.type, self.length, [*map(found, self.buffers)], self.nulls, self.lead)


class FrameFile:
    """Takes frames with the same columns, one after the other, and gives them back as one.

    Args:
        file: empty, open for writing; nobody else writes to it.
        mapped: maps the file into memory.
        others: what is mapped already, with the addresses of `addresses`.
    """

    def __init__(
        self,
        file: IO[bytes],
        mapped: Callable[[IO[bytes]], mmap.mmap],
        others: Iterable[tuple[mmap.mmap, tuple[int, int]]],
    ) -> None:
        import pyarrow as pa

        self._file = file
        self._mapped = mapped
        self._others = [(pa.py_buffer(other), *place) for other, place in others]
        self.size = 0
        """Bytes written."""
        self._schema = pl.DataFrame()
        self._columns: dict[str, list[Chunk]] = {}

    def add(self, frame: pl.DataFrame) -> None:
        """Put the rows of a frame behind the others; columns of numbers, truth values, text or bytes."""
        import pyarrow as pa

        self._schema = frame.clear()
        for column in frame:
            chunks = self._columns.setdefault(column.name, [])
            chunks += [self._moved(array) for array in pa.chunked_array(column).chunks if len(array)]

    def frame(self) -> pl.DataFrame:
        """All rows, mapped; nothing can be added any more."""
        import pyarrow as pa

        if not any(self._columns.values()):
            return self._schema
        self._file.flush()
        file = pa.py_buffer(self._mapped(self._file) if self.size else b"")
        columns = []
        for name, chunks in self._columns.items():
            # A Series made of chunks directly would bring them into one piece of memory.
            column = pl.from_arrow(pa.chunked_array([chunk.array(file) for chunk in chunks]), rechunk=False)
            assert isinstance(column, pl.Series)
            columns.append(column.alias(name))
        return pl.DataFrame(columns)

    def _moved(self, array: Any) -> Chunk:
        """A chunk whose buffers are all on disk. Bits begin at whole bytes, so that up to 7 values stay before it."""
        import pyarrow as pa

        validity, values, *texts = array.buffers()
        lead = array.offset % 8
        first, count = array.offset - lead, lead + len(array)
        # The missing are counted here: what comes from elsewhere need not have counted them.
        valid = self._kept(validity.slice(first // 8, (count + 7) // 8)) if array.null_count else None
        if array.type in (pa.string_view(), pa.binary_view()):
            buffers = self._views(values.slice(first * 16, count * 16), texts)
        else:
            start, bits = first * array.type.bit_width, count * array.type.bit_width
            buffers = [self._kept(values.slice(start // 8, (bits + 7) // 8))]
        return Chunk(array.type, len(array), array.null_count, lead, [valid, *buffers])

    def _views(self, values: Any, texts: list[Any]) -> list[Any]:
        """Views and the texts that they use, with texts that lie in memory moved to the file."""
        views = np.frombuffer(values, np.uint32).reshape(-1, 4)
        far = views[:, 0] > INLINE_BYTES
        number = views[far, 2]
        used = np.flatnonzero(np.bincount(number, minlength=len(texts)))
        kept = [self._on_disk(text) for text in texts]
        near = [place for place in used if kept[place] is None]
        if not near and len(used) == len(texts):
            return [self._kept(values), *kept]
        views, offset, length = views.copy(), views[far, 3].astype(np.int64), views[far, 0].astype(np.int64)
        for place in near:
            mine = number == place
            start, stop = int(offset[mine].min()), int((offset[mine] + length[mine]).max())
            at = self._write(texts[place].slice(start, stop - start))
            segment = at >> SEGMENT_BITS << SEGMENT_BITS
            offset[mine] += at - start - segment
            kept[place] = Written(segment)
        views[far, 2] = (np.cumsum(np.bincount(used, minlength=len(texts))) - 1)[number]
        views[far, 3] = offset
        return [Written(self._write(views.data), views.nbytes), *(kept[place] for place in used)]

    def _kept(self, buffer: Any) -> Any:
        kept = self._on_disk(buffer)
        return Written(self._write(buffer), buffer.size) if kept is None else kept

    def _on_disk(self, buffer: Any) -> Any:
        """The same bytes of a mapped file; null where they lie elsewhere.

        The buffer itself would keep everything in memory that it came with.
        """
        for other, start, stop in self._others:
            if start <= buffer.address < stop:
                return other.slice(buffer.address - start, buffer.size)
        return None

    def _write(self, data: Any) -> int:
        """Where in the file the bytes begin."""
        start = -(-self.size // ALIGNMENT) * ALIGNMENT
        self._file.write(bytes(start - self.size))
        self.size = start + self._file.write(data)
        return start


def addresses(mapped: mmap.mmap) -> tuple[int, int]:
    """The first address of a mapped file, and the first behind it."""
    view: NDArray[np.uint8] = np.frombuffer(mapped, np.uint8)
    start = view.ctypes.data
    return start, start + len(mapped)
