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
LEAST_JOINT = 4
"""Different values of several places together that make them slots; two edits that meet make three."""
LEAST_SHARE = 0.5
"""Share of the rows like it that a row must differ from in a slot."""
SURE = 3
"""Rows besides those with the commonest value, from which on one slot is enough to tell two rows apart."""
FEW_REGIONS = 4
"""In how many changed regions at most."""
_PRIME = np.uint64(0x9E3779B97F4A7C15)


@dataclass(frozen=True)
class Places:
    """Where pairs of rows differ: one entry a changed region, and one for all of several together.

    Attributes:
        pair: int64 [c], which pair.
        context: uint64 [c], hash of the words around the region.
        values: uint64 [c, 2], hashes of what stands there in either row.
        joint: bool [c], whether it is the entry for all regions of the pair.
    """

    pair: NDArray[np.int64]
    context: NDArray[np.uint64]
    values: NDArray[np.uint64]
    joint: NDArray[np.bool_]

    @classmethod
    def empty(cls) -> Self:
        """No places."""
        return cls(np.zeros(0, np.int64), np.zeros(0, np.uint64), np.zeros((0, 2), np.uint64), np.zeros(0, np.bool_))

    @classmethod
    def of_changes(
        cls, first: int, kind: NDArray[np.uint8], regions: NDArray[np.int64], found: NDArray[np.uint64]
    ) -> Self:
        """The places of some pairs that are alike, as `verify.judge_pairs` tells; `first` is their first number."""
        telling = np.flatnonzero(((kind == NEAR) | (kind == SIMILAR)) & (regions > 0) & (regions <= MOST_REGIONS))
        inside = np.arange(MOST_REGIONS) < regions[telling, None]
        pair, region = np.nonzero(inside)
        each = found[telling[pair], region, :3]
        several = telling[regions[telling] > 1]
        order = (np.arange(1, MOST_REGIONS + 1, dtype=np.uint64) * _PRIME)[:, None]
        changes = found[several, :MOST_REGIONS, :3] * order * inside[regions[telling] > 1][:, :, None]
        told = np.concatenate((each, changes.sum(axis=1, dtype=np.uint64)))
        joint = np.arange(len(told)) >= len(each)
        return cls(first + np.concatenate((telling[pair], several)), told[:, 0].copy(), told[:, 1:].copy(), joint)

    @classmethod
    def joined(cls, parts: list[Self]) -> Self:
        """All places of several lists, in their order."""
        if not parts:
            return cls.empty()
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__annotations__))


@dataclass(frozen=True)
class Slots:
    """Places in which a group of similar rows have different values.

    Attributes:
        slots: `key` of each slot (its context, and its group: rows that similar pairs connect), `joint`: of several
            together, `likely`, `sure`: how sure it is one.
        values: `row`, `key`, `value`: what stands in the slots, for rows that differ there from LEAST_SHARE of the rows
            that they are similar to.
    """

    slots: pl.DataFrame
    values: pl.DataFrame

    @classmethod
    def learned(cls, pairs: NDArray[np.int64], kind: NDArray[np.uint8], places: Places) -> Self:
        """The slots that verified pairs of rows show."""
        from curate.dedup.clusters import components

        rows, telling, times = np.unique(
            pairs[np.unique(places.pair)], return_inverse=True, return_counts=True
        )  # most rows are in no such pair
        group = rows[components(telling.reshape(-1, 2), len(rows))]
        groups = group[np.searchsorted(rows, pairs[places.pair, 0])]
        asked = np.isin(groups, groups[kind[places.pair] == NEAR])  # in no other group is anything to be dropped
        told = _values(groups, pairs, places).filter(pl.Series(np.tile(asked, 2)))
        slots = _told_apart(told.drop("pair").unique())
        differing = (
            told.join(slots, on="key", how="semi")
            .group_by("row", "key", "joint")
            .agg("value", pairs=pl.col("pair").n_unique())
        )
        similar = pl.Series(times[np.searchsorted(rows, differing["row"].to_numpy())], dtype=pl.Int64)
        values = differing.filter(pl.col("joint") | (pl.col("pairs") >= LEAST_SHARE * similar)).select(
            "row", "key", "value"
        )
        return cls(slots, values.explode("value").unique())

    def filled(self, pairs: NDArray[np.int64], kind: NDArray[np.uint8], places: Places) -> NDArray[np.int64]:
        """Which of these pairs are alike but for the values of slots: places in `pairs`, ascending.

        One sure slot among a few changed regions is enough, or several that rows are known to fill together; likely
        ones must be half of the regions, others all of several.
        """
        near = np.flatnonzero(kind == NEAR)
        if self.slots.is_empty() or not len(near):
            return np.zeros(0, dtype=np.int64)
        regions = pl.DataFrame({"pair": places.pair[~places.joint]}).group_by("pair").agg(regions=pl.len())
        asked = pl.DataFrame({"pair": near, "a": pairs[near, 0], "b": pairs[near, 1]})
        # What a row says in a slot is known from any pair that it is in.
        both = asked.join(self.values, left_on="a", right_on="row")
        both = both.join(self.values, left_on=["b", "key"], right_on=["row", "key"])
        other = both.filter(pl.col("value") != pl.col("value_right")).select("pair", "key").unique()
        found = (
            other.join(self.slots, on="key")
            .group_by("pair")
            .agg(pl.col("sure", "joint").any(), slots=(~pl.col("joint")).sum(), likely=pl.col("likely").sum())
        )
        told = (
            pl.col("joint")
            | (pl.col("sure") & (pl.col("regions") <= FEW_REGIONS))
            | (2 * pl.col("likely") >= pl.col("regions"))
            | ((pl.col("slots") >= pl.col("regions")) & (pl.col("regions") > 1))
        )
        filled: NDArray[np.int64] = found.join(regions, on="pair").filter(told).sort("pair")["pair"].to_numpy()
        return filled


def _told_apart(seen: pl.DataFrame) -> pl.DataFrame:
    """The slots among places: `key`, `likely`, `sure`.

    Args:
        seen: `group`, `key`, `joint`, `row`, `value`, distinct: what rows say at the places where they differ from
            others.

    A slot has LEAST_VALUES or more values, and the commonest one is that of half of the rows at most. It is likely one
    if fewer have it, if two values are those of several rows, or if most places of the group are such slots; with as
    many as SURE other rows, a third of all, it is sure. That rows differ in the same several places is no chance:
    LEAST_JOINT values are enough.
    """
    counted = seen.group_by("group", "key", "joint", "value").agg(rows=pl.len())
    most = pl.col("rows").max()
    found = counted.group_by("group", "key", "joint").agg(
        values=pl.len(), others=pl.col("rows").sum() - most, commonest=most, several=(pl.col("rows") > 1).sum()
    )
    varied, others, commonest = pl.col("values") >= LEAST_VALUES, pl.col("others"), pl.col("commonest")
    joint = found.filter((pl.col("values") >= LEAST_JOINT) & pl.col("joint")).select(
        "key", "joint", likely=pl.lit(False), sure=pl.lit(True)
    )
    found = found.filter(~pl.col("joint")).with_columns(
        slot=varied & (commonest <= others),
        likely=varied & ((commonest < others) | (pl.col("several") > 1)),
        sure=varied & (others >= SURE) & (commonest <= 2 * others),
    )
    slots = pl.col("slot").sum().over("group")
    template = pl.col("slot") & (slots > 1) & (2 * slots >= pl.len().over("group"))
    found = found.with_columns(likely=pl.col("likely") | pl.col("sure") | template)
    found = found.filter(pl.col("slot") | pl.col("likely")).select("key", "joint", "likely", "sure")
    return pl.concat([found, joint])


def _values(groups: NDArray[np.int64], pairs: NDArray[np.int64], places: Places) -> pl.DataFrame:
    """`pair`, `row`, `group`, `key` (of the group and the context), `joint`, `value` of either row of each place."""
    key = (groups.astype(np.uint64) + np.uint64(1)) * _PRIME ^ places.context
    return pl.DataFrame(
        {
            "pair": np.tile(places.pair, 2),
            "row": pairs[places.pair].T.ravel(),
            "group": np.tile(groups, 2),
            "key": np.tile(key, 2),
            "joint": np.tile(places.joint, 2),
            "value": places.values.T.ravel(),
        }
    )
