"""Topics: groups of rows that are alike, and how far a row is from the nearest topic of the known ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from evals.drift.sample import Floats

MOST_TOPICS = 50
ROWS_A_TOPIC = 40
"""Rows on average, at least."""
DECIMALS = 6


def topics_of(vectors: Floats, seed: int) -> NDArray[np.int64]:
    """The topic of each row, by k-means of all rows alike, whichever side they are of.

    A topic that only new rows have is found so: it is a group of its own. Groups that are learned from known rows alone
    do not show it, since real rows are as far from their own group's middle as rows of a new topic are.

    Args:
        vectors: [rows, dimensions].
        seed: of the starting points.
    """
    return _clusters(_unit(vectors), seed)[0]


def distances(vectors: Floats, learned: NDArray[np.bool_], seed: int) -> Floats:
    """One minus the cosine of each row with the middle of the nearest topic of the learned rows."""
    unit = _unit(vectors)
    _, middles = _clusters(unit[learned], seed)
    return np.asarray(np.round(1 - (unit @ _unit(middles).T).max(axis=1), DECIMALS))


def _clusters(unit: Floats, seed: int) -> tuple[NDArray[np.int64], Floats]:
    from sklearn.cluster import KMeans

    distinct = len(np.unique(unit, axis=0))
    count = max(1, min(MOST_TOPICS, len(unit) // ROWS_A_TOPIC, distinct))
    order = np.lexsort(unit.T)  # starting points are drawn by place, and the places tell the sides
    made = KMeans(count, n_init=3, random_state=seed).fit(unit[order])
    labels = np.empty(len(unit), dtype=np.int64)
    labels[order] = made.labels_
    return labels, made.cluster_centers_


def _unit(vectors: Floats) -> Floats:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths > 0, lengths, 1.0))
