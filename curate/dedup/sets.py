"""Sets of hashes in open-addressed tables, and shingles of neighbouring tokens. Importing this module imports numba."""

from __future__ import annotations

import numpy as np

from curate.dedup.compiled import compiled_inner

_PRIME = np.uint64(0x9E3779B97F4A7C15)
_U20, _U29, _U32 = map(np.uint64, (20, 29, 32))


@compiled_inner
def table_size(count):  # type: ignore[no-untyped-def]
    """A power of two with room for twice as many entries."""
    size = 16
    while size < 2 * count:
        size *= 2
    return size


@compiled_inner
def locate(table, token, size, stamp):  # type: ignore[no-untyped-def]
    """Where a hash is, or would be put, in an open-addressed table whose valid entries carry the stamp."""
    place = np.int64(token >> _U20) & (size - 1)
    while table[1][place] == stamp and table[0][place] != token:
        place = (place + 1) & (size - 1)
    return place


@compiled_inner
def insert(table, token, size, stamp):  # type: ignore[no-untyped-def]
    """Put a hash into a table; whether it was not there."""
    place = locate(table, token, size, stamp)
    new = table[1][place] != stamp
    if new:
        table[1][place] = stamp
        table[0][place] = token
    return new


@compiled_inner
def fill_set(table, tokens, count, stamp):  # type: ignore[no-untyped-def]
    """Start a set of hashes in a table; returns how many are distinct."""
    size = table_size(count)
    distinct = 0
    for index in range(count):
        distinct += insert(table, tokens[index], size, stamp)
    return distinct


@compiled_inner
def make_grams(hashes, count, width):  # type: ignore[no-untyped-def]
    """Replace token hashes by hashes of `width` neighbouring tokens, in place; returns their number."""
    if count < width:
        width = count if count else 1
    for index in range(count - width + 1):
        value = hashes[index]
        for step in range(1, width):
            value = (value ^ (value >> _U29)) * _PRIME + hashes[index + step]
        hashes[index] = (value ^ (value >> _U32)) * _PRIME
    return count - width + 1 if count else 0


@compiled_inner
def set_similarity(known, met, spare, tokens, count, own_stamp):  # type: ignore[no-untyped-def]
    """Exact Jaccard similarity of a set and the set of some hashes.

    Args:
        known: (a table filled by `fill_set`, its size, its stamp, how many distinct hashes it holds).
        met: int64, as many as the table has entries: which of them these hashes have met, by `own_stamp`.
        spare: another table, for those of the hashes that are not in the first.
        tokens: the hashes.
        count: how many of them.
        own_stamp: not yet used with `met` and `spare`.
    """
    table, size, stamp, distinct = known
    own_size = table_size(count)
    alone = shared = 0
    for index in range(count):
        place = locate(table, tokens[index], size, stamp)
        if table[1][place] == stamp:
            shared += met[place] != own_stamp
            met[place] = own_stamp
        else:
            alone += insert(spare, tokens[index], own_size, own_stamp)
    return shared / (distinct + alone) if distinct + alone else 0.0
