"""Duplicate search over a polars Series: hash, propose, verify, choose.

numba is imported when a search begins, not when this module is.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np
import polars as pl

from curate.dedup.exact import exact_hashes
from curate.dedup.kinds import EXACT, KINDS, NEAR, NORMALISED, SIMILAR
from curate.dedup.pairs import (
    SETTINGS,
    Pairs,
    PairSearch,
    Progress,
    Setting,
    distinct_pairs,
)
from curate.dedup.unlike import MOST_ROWS, surely_unlike
from curate.spill import stored

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from curate.spill import Spill

Policy = Literal["first", "longest", "best"]
"""Which row of a group stays: the first in reading order, the longest, or the one with the highest number."""

_SECOND_CHANCES = 4
PART_ROWS = 1 << 18
"""Rows of which the verdicts are in memory at a time, where they lie on disk in the end."""


@dataclass(frozen=True)
class DuplicateResult:
    """What a search found. Rows are 0-based positions in the Series searched.

    Attributes:
        pairs: verified pairs, columns a < b (Int64), kind (String, one of KINDS), measure (String), similarity
            (Float64). Every row has a pair with its representative; not every pair of a large group is listed.
        representative: Int64 per row, the kept row it was dropped for; null where the row is kept.
        kind: String per row, the verdict it was dropped for; null where kept.
        similarity: Float64 per row, of the row and its representative; null where kept.
        parameters: thresholds, MinHash parameters, S-curve, kept rows against threshold, counts.
    """

    pairs: pl.DataFrame
    representative: pl.Series
    kind: pl.Series
    similarity: pl.Series
    parameters: dict[str, object] = field(default_factory=dict)


def find_duplicates(  # noqa: PLR0913 - each option is one the user may set
    text: pl.Series,
    *,
    threshold: float | None = None,
    floor: float | None = None,
    policy: Policy = "longest",
    priority: pl.Series | None = None,
    order: pl.Series | None = None,
    answer: pl.Series | None = None,
    setting: str = "default",
    workers: int | None = None,
    seed: int = 1,
    progress: Progress | None = None,
    spill: Spill | None = None,
) -> DuplicateResult:
    """Find exact, normalised and near duplicates and choose which rows stay.

    Args:
        text: String Series; null rows match nothing and are kept.
        threshold: similarity from which a pair is a near-duplicate; null for the setting's own.
        floor: similarity down to which pairs are listed (kind ``similar``); at most `threshold`.
        policy: which row of a group stays: ``longest``, ``first``, or ``best`` by `priority` (highest first).
        priority: numbers per row, for ``best``; nulls last.
        order: distinct integers per row that break ties (path, then line); the row number when null.
        answer: what the row teaches (the assistant's text). A pair whose answers are not themselves duplicates is
            reported as ``other-answer`` and drops nothing.
        setting: ``default`` (token alignment) or ``fast`` (Jaccard 0.8 over word 5-grams).
        workers: threads; all cores when null. The result does not depend on it.
        seed: of the permutations, as in datasketch.
        progress: called with (stage, done, total).
        spill: where what is known of each row lies, band keys and verdicts too; null for memory.

    Raises:
        ValueError: an unknown policy or setting, or Series of different lengths.
        TypeError: `text` is not a String Series.
    """
    chosen = _setting(setting)
    threshold = chosen.threshold if threshold is None else threshold
    floor = max(0.0, threshold - 0.1) if floor is None else min(floor, threshold)
    for other in (priority, order, answer):
        if other is not None and len(other) != len(text):
            raise ValueError(f"expected {len(text)} values beside the text, found {len(other)}")
    rank = stored(policy_rank(text, policy, priority, order), spill)
    exact, leaders = (stored(rows, spill) for rows in _exact_groups(text, rank))
    if not chosen.gram and len(leaders) <= MOST_ROWS and surely_unlike(text.gather(leaders), floor):
        found, representative, via = Pairs.empty(), np.full(len(text), -1), np.full(len(text), -1)
    else:
        workers = workers or os.cpu_count() or 1
        search = PairSearch(text, answer, chosen, floor, threshold, workers, seed, progress, spill=spill)
        found, representative, via = _choose(search, search.verified(leaders), rank, threshold)
    return _result(_Outcome(exact, len(leaders), found, representative, via), chosen, threshold, floor, rank, spill)


def _setting(name: str) -> Setting:
    if name not in SETTINGS:
        raise ValueError(f"unknown setting {name!r}; expected one of {', '.join(SETTINGS)}")
    return SETTINGS[name]


def policy_rank(
    text: pl.Series, policy: Policy, priority: pl.Series | None = None, order: pl.Series | None = None
) -> NDArray[np.int64]:
    """The place of each row in the policy's order, int64 [n], 0 is kept first; arguments of `find_duplicates`.

    Raises:
        ValueError: an unknown policy, or ``best`` without a priority.
    """
    n = len(text)
    rows = np.arange(n) if order is None else np.argsort(order.to_numpy(), kind="stable")
    if policy == "longest":
        size = text.str.len_bytes().fill_null(0).to_numpy()
        longest = int(size.max()) if n else 0
        # Numbers of 16 bits are sorted in linear time.
        rows = rows[np.argsort((longest - size).astype(np.min_scalar_type(longest))[rows], kind="stable")]
    elif policy == "best":
        if priority is None:
            raise ValueError("policy 'best' needs a priority for each row")
        best = -priority.cast(pl.Float64).fill_nan(None).fill_null(-np.inf).to_numpy()
        rows = rows[np.argsort(best[rows], kind="stable")]
    elif policy != "first":
        raise ValueError(f"unknown policy {policy!r}; expected first, longest or best")
    rank = np.empty(n, dtype=np.int64)
    rank[rows] = np.arange(n)
    return rank


def _exact_groups(text: pl.Series, rank: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(leader of each row's byte-identical group [n], distinct leaders ascending); null rows lead themselves."""
    if len(text) <= MOST_ROWS:  # so few are all looked at: what is compiled takes longer to load
        rows = np.arange(len(text), dtype=np.int64)
    else:
        from curate.dedup.repeats import rows_of_repeated

        rows = rows_of_repeated(text.hash().to_numpy())
    rows = rows[text.is_not_null().to_numpy()[rows]]
    groups = exact_hashes(text.gather(rows)).with_columns(row=pl.Series(rows), rank=pl.Series(rank[rows]))
    lead = np.arange(len(text), dtype=np.int64)
    lead[rows] = groups.select(pl.col("row").sort_by("rank").first().over("high", "low"))["row"].to_numpy()
    return lead, np.flatnonzero((lead == np.arange(len(lead))) & text.is_not_null().to_numpy())


def _choose(
    search: PairSearch, found: Pairs, rank: NDArray[np.int64], threshold: float
) -> tuple[Pairs, NDArray[np.int64], NDArray[np.int64]]:
    """Choose representatives; a row whose only twin was dropped is compared with that twin's representative."""
    from curate.dedup.clusters import choose_representatives

    for _ in range(_SECOND_CHANCES):
        dropping = np.flatnonzero(_drops(found, threshold))
        strength = found.similarity[dropping] + 10.0 * (NEAR - found.kind[dropping])
        representative, via = choose_representatives(found.rows[dropping], strength, rank)
        edges = found.rows[dropping]
        both = np.concatenate((edges, edges[:, ::-1]))
        kept, dropped = representative[both[:, 0]] < 0, representative[both[:, 1]] >= 0
        more = both[kept & dropped]
        more = np.stack((more[:, 0], representative[more[:, 1]]), axis=1)
        more = distinct_pairs(more[more[:, 0] != more[:, 1]])
        known = found.rows[:, 0] << 32 | found.rows[:, 1]
        more = more[~np.isin(more[:, 0] << 32 | more[:, 1], known)]
        if not len(more):
            break
        extra = search.judged(more)
        if not _drops(extra, threshold).any():
            break
        found = found.extended(extra)
    via[via >= 0] = dropping[via[via >= 0]]
    return found, stored(representative, search.spill), stored(via, search.spill)


def _drops(found: Pairs, threshold: float) -> NDArray[np.bool_]:
    """Pairs of which one row may be dropped for the other at a threshold."""
    near: NDArray[np.bool_] = (found.kind == NEAR) & (found.similarity >= threshold)
    return near | (found.kind <= NORMALISED)


@dataclass(frozen=True)
class _Outcome:
    """Everything the result is made of."""

    leader: NDArray[np.int64]
    searched: int
    found: Pairs
    representative: NDArray[np.int64]
    via: NDArray[np.int64]


def _result(
    outcome: _Outcome,
    setting: Setting,
    threshold: float,
    floor: float,
    rank: NDArray[np.int64],
    spill: Spill | None,
) -> DuplicateResult:
    """Frames and parameters of a search; a byte-identical copy shares its leader's verdict."""
    leader, found = outcome.leader, outcome.found
    copy = leader != np.arange(len(leader))
    copies = np.flatnonzero(copy)
    twins = np.sort(np.stack((leader[copies], copies), axis=1), axis=1)
    pairs = found.extended(Pairs(twins, np.zeros(len(twins), np.uint8), np.ones(len(twins))))
    pairs.kind[(pairs.kind == NEAR) & (pairs.similarity < threshold)] = SIMILAR
    names = pl.Series("kind", KINDS)
    measure = f"jaccard-{setting.gram}" if setting.gram else "alignment"
    frame = pl.DataFrame(
        {"a": pairs.rows[:, 0], "b": pairs.rows[:, 1], "kind": names.gather(pairs.kind), "similarity": pairs.similarity}
    )
    hashed = pl.col("kind").is_in(["exact", "normalised"])
    frame = frame.select(
        "a",
        "b",
        "kind",
        pl.when(hashed).then(pl.lit("hash-128")).otherwise(pl.lit(measure)).alias("measure"),
        "similarity",
    ).sort("a", "b")
    # Most rows are kept: what is said of the others is looked up for them alone.
    gone = np.flatnonzero((outcome.representative[leader] >= 0) | copy)
    lead_rep, via = outcome.representative[leader[gone]], outcome.via[leader[gone]]
    representative = np.where(lead_rep >= 0, lead_rep, leader[gone])
    by_pair = via >= 0
    kind, similarity = np.full(len(gone), EXACT), np.ones(len(gone))
    kind[by_pair], similarity[by_pair] = found.kind[via[by_pair]], found.similarity[via[by_pair]]
    about = pl.DataFrame({"representative": representative, "kind": names.gather(kind), "similarity": similarity})
    parameters = _parameters(setting, threshold, floor, outcome.searched) | {
        "rows": len(leader),
        "kept": len(leader) - len(gone),
        "kept_by_threshold": _kept_curve(outcome, rank, floor, threshold),
    }
    representatives, kinds, similarities = _of_all_rows(about, gone, len(leader), spill)
    return DuplicateResult(frame, representatives, kinds, similarities, parameters)


def _of_all_rows(about: pl.DataFrame, rows: NDArray[np.int64], n: int, spill: Spill | None) -> pl.DataFrame:
    """What is said of some rows, ascending, as columns with a value for each of `n` rows, null for the others."""

    def part(start: int, stop: int) -> pl.DataFrame:
        first, last = np.searchsorted(rows, (start, stop))
        place = np.full(stop - start, -1, dtype=np.int32)
        place[rows[first:last] - start] = np.arange(first, last)
        places = pl.Series(place).replace(-1, None)
        return about.select(pl.all().gather(places))

    if spill is None:
        return part(0, n)
    return spill.frames(part(start, min(n, start + PART_ROWS)) for start in range(0, max(n, 1), PART_ROWS))


def _parameters(setting: Setting, threshold: float, floor: float, rows: int) -> dict[str, object]:
    banding = setting.banding_for(rows)
    return {
        "setting": setting.name,
        "threshold": threshold,
        "floor": floor,
        "measure": f"jaccard-{setting.gram}" if setting.gram else "alignment",
        "num_perm": banding.num_perm,
        "bands": banding.bands,
        "rows_per_band": banding.rows,
        "scheme": "affine32",
        "s_curve": banding.s_curve(),
    }


def _kept_curve(outcome: _Outcome, rank: NDArray[np.int64], floor: float, threshold: float) -> list[tuple[float, int]]:
    """Rows that would stay at each threshold from the floor to 1, and at the one used, from the pairs verified once."""
    copies = int((outcome.leader != np.arange(len(rank))).sum())
    steps = sorted({threshold, *(step / 20 for step in range(int(np.ceil(floor * 20 - 1e-9)), 21))})
    if not len(outcome.found.rows):
        return [(step, len(rank) - copies) for step in steps]
    from curate.dedup.clusters import choose_representatives

    found = outcome.found.where(outcome.found.kind <= NEAR)
    involved, places = np.unique(found.rows, return_inverse=True)
    found, order = Pairs(places.reshape(-1, 2), found.kind, found.similarity), rank[involved]
    curve = []
    for step in steps:
        dropping = _drops(found, step)
        representative, _ = choose_representatives(found.rows[dropping], found.similarity[dropping], order)
        curve.append((step, len(rank) - copies - int((representative >= 0).sum())))
    return curve


def similarity_components(
    result: DuplicateResult, *, threshold: float = 0.6, max_share: float = 0.05
) -> tuple[pl.Series, list[dict[str, float | int]]]:
    """Components of the verified similarity graph before anything is dropped, for leak-free splits.

    Args:
        result: of `find_duplicates` with a floor at or below `threshold`.
        threshold: pairs from this similarity connect, whatever their kind.
        max_share: components above this share of the rows are cut by a higher threshold.

    Returns:
        (Int64 per row, the smallest row number of its component; the cuts made, empty when none).
    """
    from curate.dedup.clusters import cut_components

    n = len(result.representative)
    rows = result.pairs.select("a", "b").to_numpy()
    label, cuts = cut_components(rows, result.pairs["similarity"].to_numpy(), n, threshold, max(1, int(max_share * n)))
    return pl.Series("component", label), cuts
