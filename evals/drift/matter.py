"""The new rows that matter most: those that look least like the dataset."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata

from evals.drift.measurements.classifier import out_of_fold
from evals.drift.pool import Pool
from evals.drift.sample import MIN_ROWS, Floats
from evals.drift.topics import distances
from schemas.drift import DriftRow

TEXT_CHARS = 200
DECIMALS = 4


def ranked(pool: Pool, most: int) -> tuple[list[DriftRow], list[str]]:
    """The first of the new rows and their records, those first that are told from known rows most easily.

    Two places are averaged: how new a row looks to a classifier that has not seen it, and how far it is from the topics
    of the known rows. Rows with a label that the dataset does not have come before all others.

    Args:
        pool: both sides.
        most: rows to give.
    """
    sample = pool.sample
    new = np.flatnonzero(sample.new)
    if not sample.vectors.any() or len(sample.new) - len(new) < 2 * MIN_ROWS:
        unlike, far = np.zeros(len(new)), np.zeros(len(new))
    else:
        unlike = _places(out_of_fold(sample, sample.seed)[new])
        apart = distances(sample.vectors, sample.learned, sample.seed)
        held_out = np.sort(apart[~sample.new & ~sample.learned])
        far = np.searchsorted(held_out, apart[new]) / max(1, len(held_out))
    answers = [sample.answers[int(at)] for at in new]
    fresh = np.array(
        [bool(sample.labels) and said is not None and said not in sample.labels for said in answers], dtype=np.bool_
    )
    order = np.lexsort((np.arange(len(new)), -(unlike + far), ~fresh))[:most]
    table = pool.rows[new[order]]
    rows = [
        DriftRow(
            place=place,
            row_id=row_id or "",
            unlike=round(float(unlike[at]), DECIMALS),
            far=round(float(far[at]), DECIMALS),
            new_label=bool(fresh[at]),
            copies=copies,
            text=shown[:TEXT_CHARS],
        )
        for at, (place, row_id, copies, shown) in zip(
            order, table.select("place", "row_id", "copies", "shown").rows(), strict=True
        )
    ]
    return rows, table["record"].to_list()


def _places(scores: Floats) -> Floats:
    """Share of the values below each one."""
    return np.asarray((rankdata(scores, method="min") - 1) / max(1, len(scores) - 1))
