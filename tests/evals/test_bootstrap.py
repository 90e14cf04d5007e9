import math

import numpy as np
import pytest
import scipy.stats

from evals import bootstrap
from evals.bootstrap import bca, bca_ends
from evals.stats import Interval, cluster_totals


def bootstrap_mean(values, clusters, alpha, seed):
    sizes, totals = cluster_totals(values, clusters)
    found = bca([np.stack([totals, sizes], axis=1)], lambda sums: sums[0][..., 0] / sums[0][..., 1], alpha, seed)
    return Interval(*found, len(values), len(sizes), "BCa")


def test_bca_is_near_scipys():
    values = np.random.default_rng(0).exponential(size=60)
    theirs = scipy.stats.bootstrap((values,), np.mean, n_resamples=20_000, method="BCa", rng=0).confidence_interval
    ours = bootstrap_mean(values, np.arange(60), 0.05, seed=0)
    assert ours.low == pytest.approx(theirs.low, abs=0.03)
    assert ours.high == pytest.approx(theirs.high, abs=0.03)
    assert ours.estimate == pytest.approx(values.mean())


def test_the_same_seed_gives_the_same_interval():
    values = np.random.default_rng(1).normal(size=40)
    first, second = (bootstrap_mean(values, np.arange(40), 0.05, seed=7) for _ in range(2))
    assert first == second
    assert bootstrap_mean(values, np.arange(40), 0.05, seed=8).low != first.low


def test_whole_clusters_are_resampled():
    values = np.repeat(np.random.default_rng(2).normal(size=20), 10)
    alone = bootstrap_mean(values, np.arange(200), 0.05, seed=0)
    together = bootstrap_mean(values, np.repeat(np.arange(20), 10), 0.05, seed=0)
    assert together.clusters == 20
    assert (together.high - together.low) > 2.5 * (alone.high - alone.low)


def test_the_order_of_rows_does_not_matter():
    rng = np.random.default_rng(3)
    values, clusters = rng.normal(size=50), rng.integers(0, 15, size=50)
    order = rng.permutation(50)
    found = bootstrap_mean(values[order], clusters[order], 0.05, seed=0)
    assert found.low == pytest.approx(bootstrap_mean(values, clusters, 0.05, seed=0).low, abs=1e-12)


def test_pieces_of_the_resampling_do_not_change_it(monkeypatch):
    values = np.random.default_rng(4).normal(size=30)
    whole = bootstrap_mean(values, np.arange(30), 0.05, seed=0)
    monkeypatch.setattr(bootstrap, "CELLS", 1000)
    assert bootstrap_mean(values, np.arange(30), 0.05, seed=0) == whole


def test_difference_of_two_samples_covers_the_true_difference():
    rng = np.random.default_rng(5)
    draws, covered = 400, 0
    for _ in range(draws):
        strata = [
            np.stack([rng.gamma(2.0, 0.5, size) + shift, np.ones(size)], axis=1)
            for size, shift in ((60, 0.2), (80, 0.0))
        ]
        _, low, high = bca(
            strata, lambda s: s[0][..., 0] / s[0][..., 1] - s[1][..., 0] / s[1][..., 1], 0.05, seed=0, draws=800
        )
        covered += low <= 0.2 <= high
    assert covered / draws >= 0.92


def test_values_that_do_not_vary_have_no_width():
    found = bootstrap_mean(np.zeros(20), np.arange(20), 0.05, seed=0)
    assert (found.estimate, found.low, found.high) == (0.0, 0.0, 0.0)


def test_a_statistic_that_is_not_defined_gives_no_interval():
    totals = np.stack([np.ones(12), np.eye(12)[0]], axis=1)
    with np.errstate(divide="ignore"):
        estimate, low, high = bca([totals], lambda s: s[0][..., 0] / s[0][..., 1], 0.05, seed=0)
    assert estimate == 12.0
    assert math.isnan(low)
    assert math.isnan(high)


def test_many_data_sets_at_once_are_each_as_alone():
    totals = np.random.default_rng(6).gamma(1.0, 1.0, (15, 4, 2)) + 0.1
    ends = bca_ends([totals], lambda sums: sums[0][..., 0] / sums[0][..., 1], 0.05, 0)
    for place in range(4):
        alone = bca([totals[:, place]], lambda sums: sums[0][..., 0] / sums[0][..., 1], 0.05, 0)
        assert alone == pytest.approx([end[place] for end in ends], abs=1e-12)


def test_few_normal_values_get_the_reach_of_students_t():
    values = np.random.default_rng(7).normal(size=(12, 2000, 1))
    _, low, high = bca_ends(
        [np.concatenate([values, np.ones_like(values)], axis=2)],
        lambda sums: sums[0][..., 0] / sums[0][..., 1],
        0.05,
        0,
        draws=1000,
    )
    assert 0.93 <= ((low <= 0) & (high >= 0)).mean() <= 0.965
