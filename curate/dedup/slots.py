"""Slots of templates, told from edits by what other rows say at the same place.

One pair of rows cannot tell whether a word in the place of another is an edit or the value of a slot. A group of rows
can: an edit here and there meets a place once, and all other rows agree about it; where most rows have a value of
their own, the place is a slot, and rows that differ there are different rows.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import polars as pl

from curate.dedup.kinds import NEAR, SIMILAR

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_REGIONS = 8
"""Pairs that differ in more regions say nothing about slots: so many edits meet by chance."""
LEAST_VALUES = 3
"""Different values that make a place a slot."""
SURE = 3
"""Rows besides those with the commonest value, from which on one slot is enough to tell two rows apart."""
FEW_REGIONS = 4
"""In how many changed regions at most."""
_PRIME = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Places:
    """Where pairs of rows differ: one entry a changed region.

    Attributes:
        pair: int64 [c], ascending, which pair.
        context: uint64 [c], hash of the words around the region.
        values: uint64 [c, 2], hashes of what stands there in either row.
    """

    pair: NDArray[np.int64]
    context: NDArray[np.uint64]
    values: NDArray[np.uint64]

    @classmethod
    def empty(cls) -> Self:
        """No places."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.uint64), np.zeros((0, 2), np.uint64))

    @classmethod
    def of_changes(
        cls, first: int, kind: NDArray[np.uint8], regions: NDArray[np.int64], found: NDArray[np.uint64]
    ) -> Self:
        """The places of some pairs that are alike, as `verify.judge_pairs` tells; `first` is their first number."""
        telling = np.flatnonzero(((kind == NEAR) | (kind == SIMILAR)) & (regions > 0) & (regions <= MOST_REGIONS))
        pair, region = np.nonzero(np.arange(MOST_REGIONS) < regions[telling, None])
        told = found[telling[pair], region]
        return cls(first + telling[pair], told[:, 0].copy(), told[:, 1:].copy())

    @classmethod
    def joined(cls, parts: list[Self]) -> Self:
        """All places of several lists, in their order."""
        if not parts:
            return cls.empty()
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in ("pair", "context", "values")))


@dataclass(frozen=True)
class Slots:
    """Places in which a group of similar rows have different values.

    Attributes:
        group: int64 [n], of each row of the corpus: rows that similar pairs connect.
        key: uint64 [s], ascending: of each slot, its group and its context.
        sure: bool [s], whether at least SURE rows have another value than the commonest one.
    """

    group: NDArray[np.int64]
    key: NDArray[np.uint64]
    sure: NDArray[np.bool_]

    @classmethod
    def learned(cls, pairs: NDArray[np.int64], kind: NDArray[np.uint8], places: Places, n: int) -> Self:
        """The slots that verified pairs of `n` rows show.

        A place is a slot if its rows have LEAST_VALUES or more values and no value is that of more than half of them.
        """
        from curate.dedup.clusters import components

        group = components(pairs[np.unique(places.pair)], n)
        groups = group[pairs[places.pair, 0]]
        asked = np.isin(groups, groups[kind[places.pair] == NEAR])  # in no other group is anything to be dropped
        key, rows, values = _keys(groups, places)[asked], pairs[places.pair[asked]], places.values[asked]
        seen = pl.DataFrame({"key": np.tile(key, 2), "row": rows.T.ravel(), "value": values.T.ravel()}).unique()
        counted = seen.group_by("key", "value").agg(rows=pl.len())
        slots = counted.group_by("key").agg(
            values=pl.len(), others=pl.col("rows").sum() - pl.col("rows").max(), commonest=pl.col("rows").max()
        )
        slots = slots.filter((pl.col("values") >= LEAST_VALUES) & (pl.col("commonest") <= pl.col("others"))).sort("key")
        return cls(group, slots["key"].to_numpy(), (slots["others"] >= SURE).to_numpy())

    def filled(self, pairs: NDArray[np.int64], kind: NDArray[np.uint8], places: Places) -> NDArray[np.int64]:
        """Which of these pairs are alike but for the values of slots: places in `pairs`, ascending.

        Most of what differs must be slots, or any of a few regions one that many rows show to be a slot.
        """
        if not len(self.key):
            return np.zeros(0, dtype=np.int64)
        near = np.flatnonzero(kind[places.pair] == NEAR)
        pair = places.pair[near]
        key = _keys(self.group[pairs[pair, 0]], Places(pair, places.context[near], places.values[near]))
        at = np.minimum(np.searchsorted(self.key, key), len(self.key) - 1)
        slot = self.key[at] == key
        regions, slots, sure = (
            np.bincount(pair[mask], minlength=len(pairs)) for mask in (np.ones_like(slot), slot, slot & self.sure[at])
        )
        return np.flatnonzero((2 * slots > regions) | ((sure > 0) & (regions <= FEW_REGIONS)))


def _keys(groups: NDArray[np.int64], places: Places) -> NDArray[np.uint64]:
    """One number for the group and the context of each place."""
    return (groups.astype(np.uint64) + np.uint64(1)) * _PRIME ^ places.context
