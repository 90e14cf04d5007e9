import numpy as np
import pytest
import scipy.stats
import statsmodels.api
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.score_test import FEW_DISCORDANT, MIN_CLUSTERS, continuity
from evals.paired import (
    binary_ends,
    binary_p_worse,
    bounded_ends,
    continuous_ends,
    paired_binary,
    paired_continuous,
    paired_design_effect,
    sign_flip_p,
)
from evals.stats import cluster_totals, clustered_mean, tango

ALPHA = 0.05
COUNTS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=10, max_size=30)


def counted(pairs, more):
    gained, lost = np.array(pairs, dtype=np.float64).T
    return gained, lost, gained + lost + np.asarray(more, dtype=np.float64)


# --------------------------------------------------------------------------------------------------------- binary


def test_independent_items_get_tango_with_students_quantile_and_a_fading_correction():
    candidate, baseline = np.array([1.0] * 30 + [0.0] * 70), np.array([0.0] * 12 + [1.0] * 18 + [1.0] * 8 + [0.0] * 62)
    found = paired_binary(candidate, baseline, np.arange(100), ALPHA)
    quantile = scipy.stats.t.ppf(0.975, 99)
    assert (found.low, found.high) == pytest.approx([float(end) for end in tango(12, 8, 100, quantile)])
    assert found.method == "Tango score"
    assert list(continuity(np.array([0.0, 5.0, FEW_DISCORDANT, 90.0]))) == [0.5, 0.375, 0.0, 0.0]


def test_twenty_ties_are_not_certainty_and_their_clusters_count_once():
    scores = np.ones(20)
    alone = paired_binary(scores, scores, np.arange(20), ALPHA)
    assert alone.low < -0.15
    twice = paired_binary(np.ones(40), np.ones(40), np.repeat(np.arange(20), 2), ALPHA)
    assert (twice.low, twice.high) == pytest.approx((alone.low, alone.high))
    assert (twice.items, twice.clusters) == (40, 20)


@settings(max_examples=40, deadline=None)
@given(COUNTS, st.integers(0, 2))
def test_swapping_the_models_mirrors_the_interval(pairs, more):
    gained, lost, sizes = counted(pairs, more)
    if sizes.min() > 0:
        low, high = binary_ends(gained, lost, sizes, ALPHA)
        assert np.allclose(binary_ends(lost, gained, sizes, ALPHA), (-high, -low), atol=1e-9)
        assert low <= (gained - lost).sum() / sizes.sum() <= high


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 40), st.integers(0, 40), st.integers(1, 60))
def test_one_more_item_right_never_lowers_an_end(gained, lost, tied):
    items = gained + lost + tied
    if items < MIN_CLUSTERS:
        return
    before, after = ([*[1.0] * g, *[-1.0] * lost, *[0.0] * (items - g - lost)] for g in (gained, gained + 1))
    ends = [paired_binary(np.array(d), np.zeros(items), np.arange(items), ALPHA) for d in (before, after)]
    assert ends[1].low >= ends[0].low - 1e-9
    assert ends[1].high >= ends[0].high - 1e-9


@settings(max_examples=40, deadline=None)
@given(COUNTS)
def test_the_p_value_is_below_its_level_exactly_where_the_interval_is_below_nothing(pairs):
    gained, lost, sizes = counted(pairs, 1)
    p = float(binary_p_worse(gained, lost, sizes))
    for alpha in (0.01, 0.05, 0.2, 0.4):
        if abs(p - alpha / 2) > 1e-6:
            assert (p < alpha / 2) == (binary_ends(gained, lost, sizes, alpha)[1] < 0)


def test_a_few_losses_in_different_clusters_do_not_prove_that_clusters_do_not_matter():
    sizes, nothing = np.full(25, 20.0), np.zeros(25)
    scattered = np.eye(25)[:3].sum(axis=0)
    effect, degrees = paired_design_effect(nothing, scattered, sizes)
    assert degrees < 10
    assert 10 < effect < 20
    many = np.tile([1.0, 2.0, 0.0, 1.0, 1.0], 20)
    effect, degrees = paired_design_effect(np.zeros(100), many, np.full(100, 20.0))
    assert degrees > 50
    assert effect < 1.0


def test_items_that_repeat_their_cluster_count_once():
    gained, lost = np.repeat([[5.0, 0.0]], 30, axis=0).ravel(), np.repeat([[0.0, 5.0]], 30, axis=0).ravel()
    effect, _ = paired_design_effect(gained, lost, np.full(60, 5.0))
    assert effect == pytest.approx(5 * 60 / 59)


def test_the_design_effect_is_the_clustered_over_the_independent_variance_of_statsmodels():
    rng = np.random.default_rng(8)
    sizes = np.tile([2.0, 5.0, 9.0], 20)
    gained = rng.binomial(sizes.astype(int), 0.2).astype(np.float64)
    lost = rng.binomial((sizes - gained).astype(int), 0.3).astype(np.float64)
    clusters = np.repeat(np.arange(60), sizes.astype(int))
    signs = np.concatenate(
        [
            np.repeat([1.0, -1.0, 0.0], [int(g), int(b), int(n - g - b)])
            for g, b, n in zip(gained, lost, sizes, strict=True)
        ]
    )
    model = statsmodels.api.OLS(signs, np.ones(len(signs)))
    options = {"groups": clusters, "use_correction": False}
    clustered = float(model.fit(cov_type="cluster", cov_kwds=options).bse[0]) ** 2 * 60 / 59
    independent = float(model.fit(cov_type="HC0").bse[0]) ** 2
    effect, _ = paired_design_effect(gained, lost, sizes, few_degrees=1e-9)
    assert effect == pytest.approx(clustered / independent, rel=1e-9)


def test_losses_of_whole_clusters_do_not_pass():
    # 25 clusters of 20 items of which 3% are lost, most of them as whole clusters. Many such test sets hold a few
    # scattered losses only, and taken at their word they would rule the true loss out.
    rng = np.random.default_rng(0)
    shape, truth = (3000, 25), -0.03
    copies = rng.binomial(20, np.sqrt(0.5), shape)
    lost = (copies * (rng.random(shape) < -truth) + rng.binomial(20 - copies, -truth)).astype(np.float64)
    low, high = binary_ends(np.zeros(shape), lost, np.full(25, 20.0), ALPHA)
    assert (low > truth).mean() < 0.03
    assert ((low <= truth) & (high >= truth)).mean() > 0.94


def test_coverage_in_clusters_of_unequal_size():
    rng = np.random.default_rng(1)
    sizes = np.tile([1.0, 1.0, 1.0, 2.0, 5.0, 12.0], 25)
    shape, loss = (2000, len(sizes)), 0.1
    copies = rng.binomial(sizes.astype(int), np.sqrt(0.3), shape)
    lost = (copies * (rng.random(shape) < loss) + rng.binomial(sizes.astype(int) - copies, loss)).astype(np.float64)
    low, high = binary_ends(np.zeros(shape), lost, sizes, ALPHA)
    assert 0.94 <= ((low <= -loss) & (high >= -loss)).mean() <= 0.98


def test_few_clusters_and_nothing_are_no_evidence():
    for count, enough in ((MIN_CLUSTERS - 1, False), (MIN_CLUSTERS, True)):
        assert paired_binary(np.ones(count), np.zeros(count), np.arange(count), ALPHA).is_evidence is enough
    nothing = np.zeros(0)
    assert not paired_binary(nothing, nothing, nothing, ALPHA).is_evidence
    assert not paired_continuous(nothing, nothing, ALPHA, 0, bounded=True).is_evidence
    one = paired_binary(np.ones(5), np.zeros(5), np.zeros(5), ALPHA)
    assert (one.estimate, one.is_evidence) == (1.0, False)


# ----------------------------------------------------------------------------------------------------- continuous


def test_continuous_intervals_hold_the_t_interval():
    rng = np.random.default_rng(2)
    clusters = rng.integers(0, 30, 120)
    values = rng.normal(0.1, 1.0, 120)
    plain = clustered_mean(values, clusters, ALPHA)
    found = paired_continuous(values, clusters, ALPHA, 0, bounded=False)
    assert found.low <= plain.low + 1e-9
    assert found.high >= plain.high - 1e-9
    assert found.high - found.low < 1.2 * (plain.high - plain.low)


def test_continuous_intervals_mirror():
    values = np.random.default_rng(3).normal(0.1, 1.0, (1, 40))
    low, high = continuous_ends(values, np.ones(40), ALPHA, 0)
    mirrored = continuous_ends(-values, np.ones(40), ALPHA, 0)
    assert np.allclose(mirrored, (-high, -low), atol=1e-9)


def test_skewed_losses_of_twenty_items_are_covered():
    values = 0.3 - np.random.default_rng(4).exponential(0.3, (1500, 20))
    low, high = continuous_ends(values, np.ones(20), ALPHA, 0, draws=1000)
    assert ((low <= 0) & (high >= 0)).mean() > 0.92


def test_ties_say_little_and_nothing_where_scores_have_no_bounds():
    difference = np.zeros(400)
    difference[:3] = -0.4
    found = paired_continuous(difference, np.arange(400), ALPHA, 0, bounded=True)
    signs = bounded_ends(np.zeros(400), (difference < 0).astype(np.float64), np.ones(400), ALPHA)
    assert found.low == signs[0] < -0.01
    assert found.high == signs[1] > 0
    assert not paired_continuous(difference, np.arange(400), ALPHA, 0, bounded=False).is_evidence


def test_sign_flips_of_a_symmetric_sample_agree_with_students_t():
    rng = np.random.default_rng(5)
    values = rng.normal(0.2, 1.0, 60)
    expected = scipy.stats.ttest_1samp(values, 0.0, alternative="greater").pvalue
    assert sign_flip_p(values, np.ones(60), 0.0, 0) == pytest.approx(expected, abs=0.02)


def test_few_sign_flips_are_scipys_exact_permutation_test():
    values = np.random.default_rng(6).normal(0.5, 1.0, 9)
    exact = scipy.stats.permutation_test(
        (values,), np.sum, permutation_type="samples", alternative="greater", n_resamples=np.inf
    )
    assert sign_flip_p(values, np.ones(9), 0.0, 0) == pytest.approx(exact.pvalue)
    assert sign_flip_p(np.ones(10), np.ones(10), 0.0, 0) == 1 / 1024


@settings(max_examples=40, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=30), st.floats(-0.5, 0.5))
def test_a_higher_bar_is_never_easier(values, bar):
    totals, sizes = np.array(values), np.ones(len(values))
    assert sign_flip_p(totals, sizes, bar + 0.1, 0) >= sign_flip_p(totals, sizes, bar, 0) - 1e-9


def test_whole_clusters_are_flipped():
    values = np.repeat(np.random.default_rng(7).normal(0.6, 1.0, 20), 10)
    sizes, totals = cluster_totals(values, np.repeat(np.arange(20), 10))
    together, alone = sign_flip_p(totals, sizes, 0.0, 0), sign_flip_p(values, np.ones(200), 0.0, 0)
    assert together > alone
