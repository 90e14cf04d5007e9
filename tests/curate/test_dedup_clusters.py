"""Representatives, components and candidates, against plain definitions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup.clusters import choose_representatives, components, cut_components
from curate.dedup.lsh import Banding, candidate_pairs

EDGES = st.lists(
    st.tuples(st.integers(0, 14), st.integers(0, 14)).filter(lambda edge: edge[0] < edge[1]), max_size=40, unique=True
)


def array(edges: list[tuple[int, int]]) -> np.ndarray:
    return np.array(edges, dtype=np.int64).reshape(-1, 2)


@settings(max_examples=150)
@given(EDGES, st.permutations(list(range(15))), st.data())
def test_greedy_choice_equals_its_definition(
    edges: list[tuple[int, int]], rank: list[int], data: st.DataObject
) -> None:
    strength = data.draw(st.lists(st.sampled_from([0.7, 0.8, 0.9]), min_size=len(edges), max_size=len(edges)))
    found, via = choose_representatives(array(edges), np.array(strength), np.array(rank))
    kept: dict[int, int] = {}
    for row in sorted(range(15), key=lambda row: rank[row]):
        options = [
            (-strength[at], rank[other], other)
            for at, edge in enumerate(edges)
            if row in edge and kept.get(other := edge[0] + edge[1] - row) == -1
        ]
        kept[row] = min(options)[2] if options else -1
    assert found.tolist() == [kept[row] for row in range(15)]
    for row, edge in enumerate(via.tolist()):
        assert (edge == -1) == (found[row] == -1)
        if edge >= 0:
            assert set(edges[edge]) == {row, int(found[row])}


@settings(max_examples=100)
@given(EDGES)
def test_components_are_the_reachable_rows(edges: list[tuple[int, int]]) -> None:
    reach = [{row} for row in range(15)]
    for _ in range(15):
        for a, b in edges:
            reach[a] |= reach[b]
            reach[b] |= reach[a]
    assert components(array(edges), 15).tolist() == [min(reached) for reached in reach]


def test_large_components_are_cut_by_a_higher_threshold_and_small_ones_are_not() -> None:
    pairs = array([(0, 1), (1, 2), (2, 3), (3, 4), (5, 6)])
    similarity = np.array([0.95, 0.65, 0.95, 0.62, 0.65])
    label, cuts = cut_components(pairs, similarity, 8, threshold=0.6, max_rows=2)
    assert label.tolist() == [0, 0, 2, 2, 4, 5, 5, 7]
    assert cuts == [{"row": 0, "rows": 5, "threshold": 0.7, "largest_part": 2}]
    whole, none = cut_components(pairs, similarity, 8, threshold=0.6, max_rows=5)
    assert (whole.tolist(), none) == ([0, 0, 0, 0, 0, 5, 5, 7], [])


def test_identical_rows_are_never_cut_apart() -> None:
    label, cuts = cut_components(array([(0, 1), (1, 2)]), np.ones(2), 3, threshold=0.6, max_rows=1)
    assert (label.tolist(), cuts[0]["largest_part"]) == ([0, 0, 0], 3)
    label, cuts = cut_components(array([(0, 1), (1, 2)]), np.ones(2), 3, threshold=1.0, max_rows=1)
    assert (label.tolist(), cuts[0]["largest_part"]) == ([0, 0, 0], 3)


@settings(max_examples=60)
@given(st.lists(st.lists(st.integers(0, 5), min_size=3, max_size=3), min_size=2, max_size=6), st.integers(1, 3))
def test_small_buckets_propose_all_their_pairs(keys: list[list[int]], workers: int) -> None:
    table = np.array(keys, dtype=np.uint32).T.copy()
    rows = np.arange(len(keys)) * 2
    found = candidate_pairs(table, rows, workers)
    wanted = [
        (2 * a, 2 * b)
        for a in range(len(keys))
        for b in range(a + 1, len(keys))
        if any(x == y for x, y in zip(keys[a], keys[b], strict=True))
    ]
    assert [tuple(pair) for pair in found.tolist()] == wanted


def test_a_bucket_of_everything_proposes_in_proportion_to_its_rows() -> None:
    keys = np.zeros((24, 5000), dtype=np.uint32)
    assert len(candidate_pairs(keys, np.arange(5000), 1)) < 4 * 5000
    keys = np.random.default_rng(0).integers(0, 2, (24, 5000), dtype=np.uint32)
    assert len(candidate_pairs(keys, np.arange(5000), 1)) < 24 * 3 * 5000


def test_s_curve() -> None:
    banding = Banding(bands=24, rows=5)
    assert banding.num_perm == 120
    assert banding.probability(0.7) == pytest.approx(1 - (1 - 0.7**5) ** 24)
    assert banding.s_curve()[10] == (0.5, round(1 - (1 - 0.5**5) ** 24, 6))
