"""Which rows have a key that another row has as well: none is left out, whatever the keys."""

from __future__ import annotations

import numpy as np
import pytest

from curate.dedup.repeats import rows_of_repeated


@pytest.mark.parametrize("kind", [np.uint32, np.uint64])
@pytest.mark.parametrize(("rows", "distinct"), [(0, 1), (1, 1), (2, 1), (50, 20), (30_000, 1), (60_000, 50_000)])
def test_every_row_with_a_repeated_key_is_found_and_few_others(kind, rows, distinct):
    rng = np.random.default_rng(rows)
    pool = rng.integers(0, np.iinfo(kind).max, distinct, dtype=kind, endpoint=True)
    keys = pool[rng.integers(0, distinct, rows)]
    _, place, count = np.unique(keys, return_inverse=True, return_counts=True)
    repeated = np.flatnonzero(count[place] > 1)
    found = rows_of_repeated(keys)
    assert len(set(found.tolist())) == len(found)
    assert set(repeated.tolist()) <= set(found.tolist())
    assert len(found) - len(repeated) <= rows // 10


def test_keys_that_share_their_highest_bits_are_told_apart_or_all_kept():
    keys = np.arange(5000, dtype=np.uint64)
    assert set(rows_of_repeated(np.append(keys, keys[:3])).tolist()) >= {0, 1, 2, 5000, 5001, 5002}
