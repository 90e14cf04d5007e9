"""Which rows make a batch: rows of like length together, so that little is padded; seeded, a function of the epoch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

WINDOW_BATCHES = 16
"""Rows are sorted by length inside windows of so many batches: enough to pad little, few enough to mix the epochs."""


def epoch_order(lengths: Sequence[int], batch_size: int, seed: int, epoch: int) -> list[int]:
    """The order in which an epoch visits its rows; cut every `batch_size`, it gives batches of like length.

    Rows are shuffled, sorted by length inside windows, cut into batches, and the batches are shuffled. A batch that is
    not full comes last.

    Args:
        lengths: tokens of each row.
        batch_size: rows per optimiser step: however they are shared out over processes and accumulated, each step
            sees the same rows.
        seed: of the run.
        epoch: 0-based; every epoch has an order of its own.

    Returns:
        A permutation of the rows' indices.
    """
    generator = np.random.default_rng([seed, epoch])
    shuffled = generator.permutation(len(lengths)).tolist()
    window = WINDOW_BATCHES * batch_size
    batches: list[list[int]] = []
    for start in range(0, len(shuffled), window):
        ordered = sorted(shuffled[start : start + window], key=lambda row: lengths[row])
        batches += [ordered[k : k + batch_size] for k in range(0, len(ordered), batch_size)]
    short = [batch for batch in batches if len(batch) < batch_size]
    full = [batch for batch in batches if len(batch) == batch_size]
    mixed = [full[k] for k in generator.permutation(len(full))]
    return [row for batch in [*mixed, *short] for row in batch]


def padded_tokens(lengths: Sequence[int], order: Sequence[int], batch_size: int) -> int:
    """Tokens that the model computes for one epoch, padding included: rows x longest row, over all batches."""
    batches = [order[k : k + batch_size] for k in range(0, len(order), batch_size)]
    return sum(len(batch) * max(lengths[row] for row in batch) for batch in batches)
