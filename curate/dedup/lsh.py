"""Candidate pairs from MinHash band keys, linear in the number of rows.

Rows that share a band key fall into one bucket. A small bucket proposes all its pairs. A large one
(a template, a bucket of everything) is ordered by the rows' next band keys, so that the most alike rows
are neighbours, and proposes only neighbours and a link to its first row: its cost grows with its rows,
never with their square.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SMALL_BUCKET = 6  # all pairs of a bucket of up to this many rows
GIANT_BUCKET = 1000  # buckets over this size propose pairs in the first bands only
GIANT_BANDS = 8


@dataclass(frozen=True)
class Banding:
    """MinHash parameters and the probability curve they imply.

    Attributes:
        bands: number of bands.
        rows: signature values a band; ``bands * rows`` permutations are used.
    """

    bands: int
    rows: int

    @property
    def num_perm(self) -> int:
        """Permutations used."""
        return self.bands * self.rows

    def probability(self, jaccard: float) -> float:
        """Probability that two rows with this Jaccard similarity of shingles share a bucket."""
        return float(1.0 - (1.0 - jaccard**self.rows) ** self.bands)

    def s_curve(self) -> list[tuple[float, float]]:
        """(Jaccard similarity, probability of becoming a candidate) from 0 to 1 in steps of 0.05."""
        return [(step / 20, round(self.probability(step / 20), 6)) for step in range(21)]


def distinct(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The distinct values, ascending (sorting is much faster here than numpy's hash-based `unique`)."""
    values = np.sort(values)
    return values[np.concatenate(([True], values[1:] != values[:-1]))] if len(values) else values


def candidate_pairs(
    keys: NDArray[np.uint32], rows: NDArray[np.int64], workers: int, compared: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Pairs of rows that share a band key.

    Args:
        keys: [bands, n], band keys of the rows.
        rows: [n], ascending row numbers (< 2**32) the columns stand for.
        workers: threads to sort bands with; the result does not depend on it.
        compared: [n], which rows can be in a pair; all when null.

    Returns:
        int64 [p, 2], first < second, distinct, sorted.
    """
    if keys.shape[1] < 2:
        return np.zeros((0, 2), dtype=np.int64)
    with ThreadPoolExecutor(workers) as pool:
        shares = pool.map(lambda first: _bands_pairs(keys, range(first, len(keys), workers), compared), range(workers))
        packed = distinct(np.concatenate(list(shares)))
    return np.stack((rows[packed >> np.uint64(32)], rows[packed & np.uint64(0xFFFFFFFF)]), axis=1)


def _bands_pairs(keys: NDArray[np.uint32], bands: range, compared: NDArray[np.bool_] | None) -> NDArray[np.uint64]:
    """`_band_pairs` of several bands."""
    space = np.empty(keys.shape[1], dtype=np.uint64)
    return np.concatenate([np.zeros(0, np.uint64), *(_band_pairs(keys, band, space, compared) for band in bands)])


def _band_pairs(
    keys: NDArray[np.uint32], band: int, space: NDArray[np.uint64], compared: NDArray[np.bool_] | None
) -> NDArray[np.uint64]:
    """Packed pairs ``first << 32 | second`` of column numbers proposed by one band, distinct and sorted."""
    from curate.dedup.repeats import rows_of_repeated

    columns = rows_of_repeated(keys[band], space)
    columns = columns if compared is None else columns[compared[columns]]
    if not len(columns):
        return np.zeros(0, dtype=np.uint64)
    entries = keys[band][columns].astype(np.uint64) << np.uint64(32) | columns.astype(np.uint64)
    entries.sort()
    bucket = (entries >> np.uint64(32)).astype(np.uint32)
    starts = np.flatnonzero(np.concatenate(([True], bucket[1:] != bucket[:-1])))
    sizes = np.diff(np.append(starts, len(bucket)))
    crowded = np.repeat(sizes, sizes)
    member = (entries & np.uint64(0xFFFFFFFF)).astype(np.int64)
    some = crowded > 1
    member, bucket, crowded = member[some], bucket[some], crowded[some]
    small = crowded <= SMALL_BUCKET
    found = [_neighbours(member[small], bucket[small], step) for step in range(1, SMALL_BUCKET)]
    large = ~small if band < GIANT_BANDS else ~small & (crowded <= GIANT_BUCKET)
    if large.any():
        found += _crowded_pairs(member[large], bucket[large], keys[(band + 1) % len(keys)])
    return distinct(np.concatenate(found))


def _neighbours(member: NDArray[np.int64], bucket: NDArray[np.uint32], step: int) -> NDArray[np.uint64]:
    same = bucket[step:] == bucket[:-step]
    return _packed(member[:-step][same], member[step:][same])


def _crowded_pairs(
    member: NDArray[np.int64], bucket: NDArray[np.uint32], next_keys: NDArray[np.uint32]
) -> list[NDArray[np.uint64]]:
    """Links inside large buckets: to the first row, and to the neighbour in the order of the next band's keys."""
    opening = np.concatenate(([True], bucket[1:] != bucket[:-1]))
    head = member[opening][np.cumsum(opening) - 1]
    links = _packed(head[~opening], member[~opening])
    order = np.lexsort((member, next_keys[member], bucket))
    return [links, _neighbours(member[order], bucket[order], 1), _neighbours(member[order], bucket[order], 2)]


def _packed(one: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.uint64]:
    first, second = np.minimum(one, other).astype(np.uint64), np.maximum(one, other).astype(np.uint64)
    return first << np.uint64(32) | second
