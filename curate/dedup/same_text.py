"""The cheapest proof that two rows are duplicates: their bytes. Importing this module imports numba."""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.dedup.compiled import compiled, compiled_inner
from curate.dedup.memory import load_byte, load_eight

# For each of eight bytes: a sum has its high bit set from "A" on, or from behind "Z" on.
_FROM_A, _BEYOND_Z = np.uint64(0x3F3F3F3F3F3F3F3F), np.uint64(0x2525252525252525)
_LOW_BITS, _HIGH_BITS = np.uint64(0x7F7F7F7F7F7F7F7F), np.uint64(0x8080808080808080)
_U2 = np.uint64(2)


@compiled_inner
def is_space(byte):  # type: ignore[no-untyped-def]
    """Whether an ASCII byte is white space to `curate.dedup.exact.normalise`."""
    return byte == 32 or 9 <= byte <= 13 or 28 <= byte <= 31


@compiled_inner
def next_byte(address, at, length):  # type: ignore[no-untyped-def]
    """(normalised byte at a place, the place behind it): a run of white space is one space, none at the row's end."""
    byte = load_byte(address, at)
    if is_space(byte):
        while at < length and is_space(load_byte(address, at)):
            at += 1
        return (np.int64(32) if at < length else np.int64(-1)), at
    return np.int64(byte | 32 if 65 <= byte <= 90 else byte), at + 1


@compiled_inner
def lower_eight(eight):  # type: ignore[no-untyped-def]
    """Eight bytes with their ASCII capitals in lower case."""
    low = eight & _LOW_BITS
    capital = (low + _FROM_A ^ low + _BEYOND_Z) & ~eight & _HIGH_BITS
    return eight | capital >> _U2


@compiled
def same_text(addresses, lengths, pairs, same):  # type: ignore[no-untyped-def]
    """Which pairs of rows are equal but for the case of ASCII letters and ASCII white space.

    Their normalised texts are equal as well. Of other pairs nothing is said.

    Args:
        addresses: uint64 [n], of the first byte of each row.
        lengths: int64 [n], bytes of each row.
        pairs: int64 [p, 2], rows to compare.
        same: bool [p], output.
    """
    for index in range(len(pairs)):
        a, b = pairs[index, 0], pairs[index, 1]
        i = j = np.int64(0)
        while i < lengths[a] and is_space(load_byte(addresses[a], i)):
            i += 1
        while j < lengths[b] and is_space(load_byte(addresses[b], j)):
            j += 1
        equal: Any = True
        while equal and (i < lengths[a] or j < lengths[b]):
            # Eight bytes at once, unless a space ends them: a run of spaces may go on in one row only.
            while i + 8 <= lengths[a] and j + 8 <= lengths[b] and not is_space(load_byte(addresses[a], i + 7)):
                if lower_eight(load_eight(addresses[a], i)) != lower_eight(load_eight(addresses[b], j)):
                    break
                i += 8
                j += 8
            left = right = np.int64(-1)
            if i < lengths[a]:
                left, i = next_byte(addresses[a], i, lengths[a])
            if j < lengths[b]:
                right, j = next_byte(addresses[b], j, lengths[b])
            equal = left == right
        same[index] = equal
