"""Which rows have a key that another row has as well. Importing this module imports numba.

Most keys are unique, and sorting all of them only to find that out costs more a row the more rows there are: every step
of a sort beyond the processor's caches waits for memory. Here keys are dealt out by their highest bits to parts that
fit the fastest cache, and counted there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from curate.dedup.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

_PART_ROWS = 2048
_MOST_PART_BITS = 12
_SLOT_BITS = 15  # 16 slots a row, so that few rows share one by chance; a byte each, they fit a cache of 32 KiB
_ROW_BITS, _ROW_MASK = np.uint64(32), np.uint64(0xFFFFFFFF)


@compiled
def _deal(keys, shift, ends, dealt):  # type: ignore[no-untyped-def]
    """Group rows by the highest bits of their keys, as slot << 32 | row; `ends` becomes where each group ends."""
    slot_shift, slots = shift - _SLOT_BITS, (1 << _SLOT_BITS) - 1
    for row in range(len(keys)):
        ends[np.int64(np.uint64(keys[row]) >> np.uint64(shift))] += 1
    before = 0
    for part in range(len(ends)):
        count = ends[part]
        ends[part] = before
        before += count
    for row in range(len(keys)):
        key = np.uint64(keys[row])
        home = np.int64(key >> np.uint64(shift))
        slot = key >> np.uint64(slot_shift) & np.uint64(slots)
        dealt[ends[home]] = slot << _ROW_BITS | np.uint64(row)
        ends[home] += 1


@compiled
def _crowded(ends, dealt, counts):  # type: ignore[no-untyped-def]
    """Move the rows whose slot holds another row as well to the front; returns their number."""
    used = start = 0
    for stop in ends:
        counts[:] = 0
        for at in range(start, stop):
            slot = np.int64(dealt[at] >> _ROW_BITS)
            counts[slot] += counts[slot] < 2
        for at in range(start, stop):
            entry = dealt[at]
            dealt[used] = entry & _ROW_MASK
            used += counts[np.int64(entry >> _ROW_BITS)] > 1
        start = stop
    return used


def rows_of_repeated(
    keys: NDArray[np.uint32] | NDArray[np.uint64], space: NDArray[np.uint64] | None = None
) -> NDArray[np.int64]:
    """Rows whose key another row has as well, ascending; a few others may be among them.

    Args:
        keys: [n], hashes, n at most 2**32.
        space: working memory [n], for several calls: fresh memory costs about as much as the work on it.
    """
    if keys.dtype == np.uint64:  # no more than 27 bits are looked at, and one kernel is compiled for both
        keys = (keys >> _ROW_BITS).astype(np.uint32)
    bits = min(_MOST_PART_BITS, max(1, (len(keys) // _PART_ROWS).bit_length()))
    ends = np.zeros(1 << bits, dtype=np.int64)
    dealt = np.empty(len(keys), dtype=np.uint64) if space is None else space
    _deal(keys, 32 - bits, ends, dealt)
    used = _crowded(ends, dealt, np.empty(1 << _SLOT_BITS, dtype=np.uint8))
    return np.sort(dealt[:used]).astype(np.int64)
