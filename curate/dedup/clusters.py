"""Which rows stay: greedy choice of representatives, and components of the similarity graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from curate.dedup.compiled import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray


@compiled
def _greedy(order: Any, rank: Any, starts: Any, others: Any, strength: Any, representative: Any, via: Any) -> None:
    """Walk rows from best to worst; drop a row for its strongest edge to a row already kept."""
    for row in order:
        best = -1
        for edge in range(starts[row], starts[row + 1]):
            other = others[edge]
            if rank[other] < rank[row] and representative[other] < 0:
                better = best < 0 or strength[edge] > strength[best]
                if better or (strength[edge] == strength[best] and rank[other] < rank[others[best]]):
                    best = edge
        if best >= 0:
            representative[row] = others[best]
            via[row] = best


def choose_representatives(
    pairs: NDArray[np.int64], strength: NDArray[np.float64], rank: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Keep the best rows; drop a row only for a direct edge to a kept one.

    Args:
        pairs: [p, 2], verified pairs that may drop a row.
        strength: [p], how good a reason a pair is; the strongest wins, then the better ranked row.
        rank: [n], the place of each row in the policy's order, distinct.

    Returns:
        (representative [n], -1 where the row is kept; index of the deciding pair [n], -1 where kept).
    """
    n = len(rank)
    representative = np.full(n, -1, dtype=np.int64)
    via = np.full(n, -1, dtype=np.int64)
    if not len(pairs):
        return representative, via
    # Most rows are in no pair; only the others are looked at.
    paired = np.zeros(n, dtype=np.bool_)
    paired[pairs] = True
    rows = np.flatnonzero(paired)
    places = np.searchsorted(rows, pairs)
    source, target = (np.concatenate((places[:, side], places[:, 1 - side])) for side in (0, 1))
    by_source = np.argsort(source, kind="stable")
    starts = np.concatenate(([0], np.cumsum(np.bincount(source))))
    doubled = np.concatenate((strength, strength))[by_source]
    chosen, reason = np.full((2, len(rows)), -1, dtype=np.int64)
    _greedy(np.argsort(rank[rows]), rank[rows], starts, target[by_source], doubled, chosen, reason)
    dropped = np.flatnonzero(chosen >= 0)
    representative[rows[dropped]] = rows[chosen[dropped]]
    via[rows[dropped]] = by_source[reason[dropped]] % len(pairs)
    return representative, via


@compiled
def _unite(pairs: Any, label: Any) -> None:
    for index in range(len(pairs)):
        a, b = pairs[index, 0], pairs[index, 1]
        while label[a] != a:
            label[a] = label[label[a]]
            a = label[a]
        while label[b] != b:
            label[b] = label[label[b]]
            b = label[b]
        if a < b:
            label[b] = a
        else:
            label[a] = b
    for row in range(len(label)):
        label[row] = label[label[row]]


def components(pairs: NDArray[np.int64], n: int) -> NDArray[np.int64]:
    """Connected components of `n` rows: for each row the smallest row number of its component."""
    label = np.arange(n, dtype=np.int64)
    if len(pairs):
        _unite(np.ascontiguousarray(pairs), label)
    return label


def cut_components(
    pairs: NDArray[np.int64], similarity: NDArray[np.float64], n: int, threshold: float, max_rows: int
) -> tuple[NDArray[np.int64], list[dict[str, float | int]]]:
    """Components of the pairs at or above a threshold, with oversized ones cut by a higher threshold.

    Args:
        pairs: verified pairs [p, 2].
        similarity: of each pair [p].
        n: rows.
        threshold: pairs below it do not connect.
        max_rows: components of more rows are cut, in steps of 0.05 up to 1.0; pairs at 1.0 are never cut.

    Returns:
        (component of each row, what was cut: first row, rows, threshold used, rows of the largest part).
    """
    kept = similarity >= threshold
    label = components(pairs[kept], n)
    cuts: list[dict[str, float | int]] = []
    sizes = np.bincount(label, minlength=n)
    for root in np.flatnonzero(sizes > max_rows):
        inside = kept & (label[pairs[:, 0]] == root)
        raised, part, largest = threshold, label, int(sizes[root])
        while raised < 1.0:
            raised = min(1.0, round(raised + 0.05, 2))
            part = components(pairs[inside & (similarity >= raised)], n)
            largest = int(np.bincount(part[label == root], minlength=n).max())
            if largest <= max_rows:
                break
        cuts.append({"row": int(root), "rows": int(sizes[root]), "threshold": raised, "largest_part": largest})
        members = label == root
        label = np.where(members, part, label)
    return label, cuts
