"""The cheapest proof that two rows are duplicates: their bytes. Importing this module imports numba."""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.dedup.compiled import compiled, compiled_inner
from curate.dedup.memory import load_byte


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
            left = right = np.int64(-1)
            if i < lengths[a]:
                left, i = next_byte(addresses[a], i, lengths[a])
            if j < lengths[b]:
                right, j = next_byte(addresses[b], j, lengths[b])
            equal = left == right
        same[index] = equal
