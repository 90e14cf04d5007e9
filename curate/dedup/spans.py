"""Where each string of a polars Series lies in memory, through the Arrow C stream interface.

Polars holds strings as Arrow *string views*: 16 bytes a row, with up to 12 bytes of text inline and
a (buffer, offset) pair otherwise. The compiled kernels read that memory directly, so no string is
copied and no Python object is made per row. Layout: Arrow columnar format, "Variable-size Binary
View Layout"; Arrow C data interface, "Structure definitions".
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import polars as pl
    from numpy.typing import NDArray

_INLINE_BYTES = 12


class _Schema(ctypes.Structure):
    pass


_Schema._fields_ = [
    ("format", ctypes.c_char_p),
    ("name", ctypes.c_char_p),
    ("metadata", ctypes.c_void_p),
    ("flags", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("children", ctypes.c_void_p),
    ("dictionary", ctypes.c_void_p),
    ("release", ctypes.CFUNCTYPE(None, ctypes.POINTER(_Schema))),
    ("private_data", ctypes.c_void_p),
]


class _Array(ctypes.Structure):
    pass


_Array._fields_ = [
    ("length", ctypes.c_int64),
    ("null_count", ctypes.c_int64),
    ("offset", ctypes.c_int64),
    ("n_buffers", ctypes.c_int64),
    ("n_children", ctypes.c_int64),
    ("buffers", ctypes.POINTER(ctypes.c_void_p)),
    ("children", ctypes.c_void_p),
    ("dictionary", ctypes.c_void_p),
    ("release", ctypes.CFUNCTYPE(None, ctypes.POINTER(_Array))),
    ("private_data", ctypes.c_void_p),
]


class _Stream(ctypes.Structure):
    pass


_Stream._fields_ = [
    ("get_schema", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Stream), ctypes.POINTER(_Schema))),
    ("get_next", ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(_Stream), ctypes.POINTER(_Array))),
    ("get_last_error", ctypes.CFUNCTYPE(ctypes.c_char_p, ctypes.POINTER(_Stream))),
    ("release", ctypes.CFUNCTYPE(None, ctypes.POINTER(_Stream))),
    ("private_data", ctypes.c_void_p),
]


@dataclass(frozen=True)
class Spans:
    """Memory spans of the rows of one string Series.

    Attributes:
        addresses: uint64 [n], address of the first byte of each row's UTF-8 text.
        lengths: int64 [n], bytes of text; 0 for null.
        owner: keeps the memory alive; the spans are valid as long as this object is.
    """

    addresses: NDArray[np.uint64]
    lengths: NDArray[np.int64]
    owner: Any

    def __len__(self) -> int:
        return len(self.lengths)

    def take(self, rows: NDArray[np.int64] | slice) -> Spans:
        """The spans of some rows, in the order given."""
        return Spans(self.addresses[rows], self.lengths[rows], self.owner)


class _Imported:
    """Arrow arrays received over the C interface, released when the last span is gone."""

    def __init__(self, arrays: list[_Array], series: pl.Series) -> None:
        self._arrays = arrays
        self._series = series

        self._release = ctypes.byref

    def __del__(self) -> None:
        # `byref` is held, because module globals may be gone when the interpreter ends.
        for array in self._arrays:
            if array.release:
                array.release(self._release(array))


def string_spans(text: pl.Series) -> Spans:
    """Locate the rows of a string Series in memory without copying them.

    Args:
        text: polars Series of dtype String; nulls become spans of length 0.

    Raises:
        TypeError: the Series is not of dtype String, or is exported in a layout other than string views.
    """
    arrays = _export(text)
    owner = _Imported(arrays, text)
    parts = [_array_spans(array) for array in arrays if array.length]
    if not parts:
        return Spans(np.zeros(0, np.uint64), np.zeros(0, np.int64), owner)
    addresses = np.concatenate([part[0] for part in parts])
    lengths = np.concatenate([part[1] for part in parts])
    if text.null_count():
        lengths[text.is_null().to_numpy()] = 0
    return Spans(addresses, lengths, owner)


def _export(text: pl.Series) -> list[_Array]:
    """The Arrow chunks of a Series, checked to be string views."""
    pointer_of = ctypes.pythonapi.PyCapsule_GetPointer
    pointer_of.restype, pointer_of.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    capsule = text.__arrow_c_stream__()
    stream = ctypes.cast(pointer_of(capsule, b"arrow_array_stream"), ctypes.POINTER(_Stream))
    schema = _Schema()
    if stream.contents.get_schema(stream, ctypes.byref(schema)):
        raise TypeError(f"cannot read the Arrow schema of {text.name!r}")
    layout = bytes(schema.format)
    schema.release(ctypes.byref(schema))
    if layout != b"vu":
        raise TypeError(f"expected a String column, found {text.dtype} (Arrow format {layout.decode()!r})")
    arrays: list[_Array] = []
    while True:
        array = _Array()
        if stream.contents.get_next(stream, ctypes.byref(array)):
            raise TypeError(f"cannot read the Arrow chunks of {text.name!r}")
        if not array.release:
            return arrays
        arrays.append(array)


def _array_spans(array: _Array) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """Addresses and lengths of one chunk of string views."""
    base = int(array.buffers[1]) + 16 * int(array.offset)
    words = (ctypes.c_uint32 * (4 * array.length)).from_address(base)
    views = np.frombuffer(words, dtype=np.uint32).reshape(-1, 4)
    lengths = views[:, 0].astype(np.int64)
    inline = lengths <= _INLINE_BYTES
    own = np.uint64(base + 4) + np.arange(array.length, dtype=np.uint64) * np.uint64(16)
    buffers = np.array([array.buffers[i] or 0 for i in range(2, max(3, array.n_buffers - 1))], dtype=np.uint64)
    index = np.where(inline, 0, views[:, 2])
    return np.where(inline, own, buffers[index] + views[:, 3].astype(np.uint64)), lengths
