"""Splits that share nothing: whole components and groups go to one split, stratified by label.

A component holds the rows that are verified to be alike before anything was dropped; a group is what the
user says belongs together (a conversation, a customer, a document). `split_proof` re-checks the outcome with
an exact method that knows nothing of either.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from curate.dedup.exact_join import Checker
from curate.spill import stored

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from curate.spill import Spill

SPLITS = ("train", "validation", "test")
"""In the order of time, where time decides."""
_EXAMPLES = 10
_REPAIRS = 20


def assign_splits(
    component_ids: pl.Series,
    groups: pl.Series | None,
    labels: pl.Series | None,
    fractions: Mapping[str, float],
    seed: int,
    keys: pl.Series | None = None,
    spill: Spill | None = None,
) -> pl.Series:
    """Assign each row to a split; rows of one component or one group always share it.

    Args:
        component_ids: [n] integers; rows with equal ids stay together.
        groups: [n] or null; rows with equal values stay together, null values belong to no group.
        labels: [n] or null; each split gets its share of every label as far as whole units allow.
        fractions: share of each split by name, not negative, summing to 1.
        seed: chooses among the assignments that fit.
        keys: [n] distinct strings that name the rows; with them the result does not depend on row order.
        spill: where what is known of each row lies while splits are chosen; null for memory.

    Returns:
        String Series [n] of split names.

    Raises:
        ValueError: fractions that are negative or do not sum to 1.
    """
    if any(share < 0 for share in fractions.values()) or abs(sum(fractions.values()) - 1.0) > 1e-6:
        raise ValueError(f"split fractions must be at least 0 and sum to 1, found {dict(fractions)}")
    n = len(component_ids)
    unit = stored(units_of(component_ids, groups), spill)
    label = stored(np.zeros(n, dtype=np.int64) if labels is None else _label_codes(labels), spill)
    units = _Units(unit, label, stored(_drawn(keys, n, seed), spill), spill)
    shares = np.array(list(fractions.values()), dtype=np.float64)
    return pl.Series("split", list(fractions), dtype=pl.String).gather(units.assigned(shares)[unit])


def leak_free_splits(
    text: pl.Series,
    component_ids: pl.Series,
    assign: Callable[[pl.Series], pl.Series],
    *,
    threshold: float = 0.7,
    thresholds: pl.Series | None = None,
    spill: Spill | None = None,
) -> tuple[pl.Series, dict[str, object]]:
    """Assign splits, prove them, and join any rows that the proof finds across splits until none is left.

    Args:
        text: String Series [n].
        component_ids: [n] integers; rows with equal ids stay together.
        assign: gives the split of each row for component ids, see `assign_splits`.
        threshold: as `split_proof` takes it.
        thresholds: as `split_proof` takes it.
        spill: where what is known of each row lies while it is checked; null for memory.

    Returns:
        (split of each row, the proof, with the number of joined pairs under `repaired_pairs`).
    """
    joined = component_ids.to_numpy()
    repaired = 0
    least = stored(_thresholds(threshold, thresholds, len(text)), spill)
    checker = Checker(text, spill=spill)
    for attempt in range(_REPAIRS + 1):
        splits = assign(pl.Series(joined))
        found = _Found()
        for batch in checker.batches(splits, least):
            found.add(batch)
            if batch.height:
                joined = _joined(joined, batch["a"].to_numpy(), batch["b"].to_numpy())
        if not found.pairs or attempt == _REPAIRS:
            break
        repaired += found.pairs
    return splits, _proof(splits, found, threshold, least) | {"repaired_pairs": repaired}


def split_proof(
    text: pl.Series, splits: pl.Series, *, threshold: float = 0.7, thresholds: pl.Series | None = None
) -> dict[str, object]:
    """Count, exactly, the pairs of rows in different splits that are at least as alike as the threshold.

    Args:
        text: String Series [n].
        splits: split of each row [n].
        threshold: Jaccard similarity of the sets of neighbouring word pairs from which a pair counts.
        thresholds: [n], higher per-row thresholds of components that had to be cut; null where `threshold` holds.

    Returns:
        What `split_proof.json` holds: method, measure, thresholds, rows by split, `cross_split_pairs` (zero when
        the split is leak-free) and the ten most similar of them. Rows without a word pair with nothing.
    """
    least = _thresholds(threshold, thresholds, len(text))
    found = _Found()
    for batch in Checker(text).batches(splits, least):
        found.add(batch)
    return _proof(splits, found, threshold, least)


class _Found:
    """How many pairs were found across splits, and the most alike of them."""

    def __init__(self) -> None:
        self.pairs = 0
        self.worst: list[tuple[int, int, float]] = []

    def add(self, batch: pl.DataFrame) -> None:
        """Count some more pairs (columns a, b, similarity)."""
        self.pairs += len(batch)
        most = batch.sort(["similarity", "a", "b"], descending=[True, False, False]).head(_EXAMPLES)
        self.worst = sorted([*self.worst, *most.iter_rows()], key=lambda pair: (-pair[2], *pair[:2]))[:_EXAMPLES]


def _proof(splits: pl.Series, found: _Found, threshold: float, least: NDArray[np.float64]) -> dict[str, object]:
    """What `split_proof.json` holds, from the pairs found across splits."""
    counts = splits.alias("split").value_counts().sort("split")
    return {
        "method": "prefix-filter join over exact sets",
        "measure": "jaccard of the sets of neighbouring word pairs",
        "threshold": threshold,
        "rows": len(splits),
        "rows_by_split": dict(zip(counts["split"], counts["count"], strict=True)),
        "rows_at_a_higher_threshold": int((least > threshold).sum()),
        "highest_threshold": float(least.max()) if len(least) else threshold,
        "cross_split_pairs": found.pairs,
        "worst": [
            {"a": a, "b": b, "splits": [splits[a], splits[b]], "similarity": round(similarity, 4)}
            for a, b, similarity in found.worst
        ],
    }


def _thresholds(threshold: float, thresholds: pl.Series | None, n: int) -> NDArray[np.float64]:
    if thresholds is None:
        return np.full(n, threshold)
    least: NDArray[np.float64] = np.maximum(thresholds.cast(pl.Float64).fill_null(threshold).to_numpy(), threshold)
    return least


def units_of(component_ids: pl.Series, groups: pl.Series | None) -> NDArray[np.int64]:
    """Dense numbers of the sets of rows that must stay together."""
    unit = component_ids.rank("dense").cast(pl.Int64).to_numpy() - 1
    if groups is None:
        return unit
    group = groups.cast(pl.String).rank("dense").cast(pl.Int64)
    named = group.is_not_null().to_numpy()
    links = np.unique(np.stack((group.fill_null(0).to_numpy()[named], unit[named]), axis=1), axis=0)
    same = links[1:, 0] == links[:-1, 0]
    return _joined(unit, links[:-1, 1][same], links[1:, 1][same], values=True)


def _joined(
    ids: NDArray[np.int64], one: NDArray[np.int64], other: NDArray[np.int64], values: bool = False
) -> NDArray[np.int64]:
    """Dense ids after joining: rows `one[i]` and `other[i]`, or with `values` the ids themselves."""
    from curate.dedup.clusters import components

    dense = _ranks(ids)
    ends = np.stack((one, other) if values else (dense[one], dense[other]), axis=1)
    roots = components(ends, int(dense.max()) + 1 if len(dense) else 0)
    return _ranks(roots)[dense]


def _ranks(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Dense numbers of values in their order, in half of the memory that the inverse of `np.unique` takes."""
    ordered = np.sort(values)
    opening = np.append(True, ordered[1:] != ordered[:-1])[: len(ordered)]
    return np.searchsorted(ordered[opening], values)


def _label_codes(labels: pl.Series) -> NDArray[np.int64]:
    """Dense label numbers in the order of the labels' text; missing labels are a class of their own."""
    return labels.cast(pl.String).rank("dense").fill_null(0).cast(pl.Int64).to_numpy()


def _drawn(keys: pl.Series | None, n: int, seed: int) -> NDArray[np.uint64]:
    """A pseudo-random 64-bit number per row that depends on its key (or row number) and the seed only."""
    if keys is None:
        value = np.arange(n, dtype=np.uint64) + np.uint64((seed * 0x9E3779B97F4A7C15 + 1) & (2**64 - 1))
        for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)):
            value = (value ^ (value >> np.uint64(shift))) * np.uint64(factor)
        return value ^ (value >> np.uint64(31))
    salt = seed.to_bytes(16, "little", signed=True)
    digests = bytearray()
    for key in keys.cast(pl.String):
        digests += hashlib.blake2b(key.encode(), digest_size=8, salt=salt).digest()
    return np.frombuffer(digests, dtype="<u8").astype(np.uint64, copy=False)


class _Units:
    """Sets of rows to be assigned as a whole, with their label counts."""

    def __init__(
        self, unit: NDArray[np.int64], label: NDArray[np.int64], drawn: NDArray[np.uint64], spill: Spill | None
    ) -> None:
        self.count = int(unit.max()) + 1 if len(unit) else 0
        self.labels = int(label.max()) + 1 if len(label) else 0
        self.spill = spill
        self.sizes = stored(np.bincount(unit, minlength=self.count), spill)
        self.totals = np.bincount(label, minlength=self.labels)
        # Pages that are written to here and there come to disk again and again: what is stored is complete.
        first_drawn = np.full(self.count, np.iinfo(np.uint64).max, dtype=np.uint64)
        np.minimum.at(first_drawn, unit, drawn)
        self.drawn = stored(first_drawn, spill)
        first_label = np.zeros(self.count, dtype=np.int64)
        first_label[unit] = label
        self.first_label = stored(first_label, spill)
        several = np.flatnonzero(self.sizes[unit] > 1)
        self.members = label[several[np.argsort(unit[several], kind="stable")]]
        self.starts = stored(np.concatenate(([0], np.cumsum(np.where(self.sizes > 1, self.sizes, 0)))), spill)

    def assigned(self, shares: NDArray[np.float64]) -> NDArray[np.uint8]:
        """The split number of each unit: large units first, each where most of its share is left; single rows fill up.

        What is left counts relative to the split's share. In rows, the largest split would need every unit most, and
        the others would get single rows alone: held-out rows of another kind than the trained ones.
        """
        split = np.zeros(self.count, dtype=np.uint8)
        whole = self.totals[:, None] * shares[None, :]
        need = whole.copy()
        several = np.flatnonzero(self.sizes > 1)
        for unit in several[np.lexsort((self.drawn[several], -self.sizes[several]))]:
            held = np.bincount(self.members[self.starts[unit] : self.starts[unit + 1]], minlength=self.labels)
            left = (need - held[:, None]) / np.maximum(whole, 1e-9)
            score = np.where(shares > 0, held @ left, -np.inf)
            split[unit] = int(np.argmax(score))
            need[:, split[unit]] -= held
        self._fill(split, need)
        return split

    def _fill(self, split: NDArray[np.uint8], need: NDArray[np.float64]) -> None:
        """Give single rows to the splits that still need their label, carrying rounding from label to label."""
        singles = np.flatnonzero(self.sizes == 1)
        drawn, first = (stored(numbers[singles], self.spill) for numbers in (self.drawn, self.first_label))
        ends = np.cumsum(np.bincount(first, minlength=self.labels))
        singles = stored(singles[np.lexsort((drawn, first))], self.spill)
        carry = np.zeros(need.shape[1])
        for label in range(self.labels):
            rows = singles[ends[label - 1] if label else 0 : ends[label]]
            wanted = np.maximum(need[label], 0.0)
            if not len(rows):
                continue
            wanted = wanted * (len(rows) / max(wanted.sum(), 1e-12))
            given = _whole(wanted + carry, len(rows))
            carry += wanted - given
            split[rows] = np.repeat(np.arange(len(given)), given)


def _whole(wanted: NDArray[np.float64], total: int) -> NDArray[np.int64]:
    """Whole numbers near the wanted ones that sum to the total (largest remainders first)."""
    given = np.floor(np.maximum(wanted, 0.0)).astype(np.int64)
    while given.sum() > total:
        given[int(np.argmax(given - wanted))] -= 1
    rest = np.argsort(-(wanted - given), kind="stable")
    for place in range(total - int(given.sum())):
        given[rest[place % len(rest)]] += 1
    return given
