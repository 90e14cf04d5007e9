import math
from statistics import NormalDist

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
import statsmodels.api
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from curate.score_test import student_quantile
from evals.stats import (
    clopper_pearson,
    cluster_totals,
    clustered_mean,
    design_effect,
    effective_degrees,
    mcnemar_exact,
    newcombe,
    no_interval,
    proportion,
    tango,
    wilson,
)

Z = NormalDist().inv_cdf(0.975)
TABLES = st.tuples(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.integers(0, 40)).filter(any)


@pytest.mark.parametrize(("successes", "items"), [(0, 20), (3, 20), (142, 150), (20, 20)])
def test_wilson_agrees_with_statsmodels(successes, items):
    expected = proportion_confint(successes, items, 0.05, method="wilson")
    assert wilson(successes, items, 0.05) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(("successes", "items"), [(0, 20), (3, 20), (142, 150), (20, 20)])
def test_clopper_pearson_agrees_with_statsmodels(successes, items):
    expected = proportion_confint(successes, items, 0.05, method="beta")
    low, high = clopper_pearson(successes, items, 0.05)
    assert low == pytest.approx(0.0 if successes == 0 else expected[0], abs=1e-12)
    assert high == pytest.approx(1.0 if successes == items else expected[1], abs=1e-12)


@given(st.integers(1, 300), st.floats(0, 1), st.sampled_from([0.01, 0.05, 0.1]))
def test_clopper_pearson_agrees_with_scipy(items, part, alpha):
    successes = round(part * items)
    expected = scipy.stats.binomtest(successes, items).proportion_ci(1 - alpha, method="exact")
    assert clopper_pearson(successes, items, alpha) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_no_hit_in_299_is_the_rule_of_one_percent():
    assert clopper_pearson(0, 299, 0.10)[1] < 0.01 < clopper_pearson(0, 298, 0.10)[1]


@given(st.integers(0, 200), st.integers(0, 200))
def test_mcnemar_is_twice_the_tail_of_a_fair_coin(gained, lost):
    tail = sum(math.comb(gained + lost, k) for k in range(min(gained, lost) + 1)) / 2 ** (gained + lost)
    assert mcnemar_exact(gained, lost) == pytest.approx(min(1.0, 2 * tail), rel=1e-9)
    assert mcnemar_exact(gained, lost) == pytest.approx(float(mcnemar([[5, gained], [lost, 7]]).pvalue), rel=1e-9)


# ------------------------------------------------------------------------------------------------------- Tango


def score_by_search(gained, lost, items, difference):
    """The score statistic with the nuisance parameter found by maximising the likelihood numerically."""
    tied = items - gained - lost

    def unlikely(loss):
        shares = np.array([loss + difference, loss, 1 - 2 * loss - difference])
        return -float(scipy.special.xlogy([gained, lost, tied], np.clip(shares, 1e-300, 1)).sum())

    bounds = (max(0.0, -difference), (1 - difference) / 2)
    loss = scipy.optimize.minimize_scalar(unlikely, bounds=bounds, method="bounded", options={"xatol": 1e-13}).x
    variance = items * (2 * loss + difference * (1 - difference))
    return (gained - lost - items * difference) / math.sqrt(variance)


@pytest.mark.parametrize(("gained", "lost", "items"), [(59, 1, 150), (9, 4, 40), (0, 1, 44), (12, 30, 200), (3, 3, 30)])
def test_the_ends_of_tango_have_the_score_of_their_quantile(gained, lost, items):
    low, high = tango(gained, lost, items, Z)
    assert score_by_search(gained, lost, items, low) == pytest.approx(Z, abs=1e-4)
    assert score_by_search(gained, lost, items, high) == pytest.approx(-Z, abs=1e-4)


def test_twenty_ties_are_not_certainty():
    low, high = tango(0, 0, 20, Z)
    assert high == pytest.approx(Z**2 / (20 + Z**2), abs=1e-12)
    assert low == pytest.approx(-high, abs=1e-12)
    assert high > 0.16


@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_tango_mirrors_when_the_models_swap(gained, lost, tied):
    items = gained + lost + tied
    if items:
        low, high = tango(gained, lost, items, Z)
        assert np.allclose(tango(lost, gained, items, Z), (-high, -low), atol=1e-9)
        assert -1 <= low <= (gained - lost) / items <= high <= 1


@given(st.integers(0, 60), st.integers(0, 60), st.integers(1, 60))
def test_one_more_gain_instead_of_a_tie_raises_both_ends(gained, lost, tied):
    items = gained + lost + tied
    before, after = tango(gained, lost, items, Z), tango(gained + 1, lost, items, Z)
    assert after[0] > before[0]
    assert after[1] >= before[1]


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 30))
def test_a_higher_level_gives_a_wider_interval(gained, lost, tied):
    items = gained + lost + tied
    narrow, wide = tango(gained, lost, items, 1.0), tango(gained, lost, items, 2.0)
    assert wide[0] < narrow[0]
    assert wide[1] > narrow[1]


def test_all_gained_and_all_lost_reach_the_end_of_the_scale():
    assert tango(10, 0, 10, Z)[1] == 1.0
    assert tango(0, 10, 10, Z)[0] == -1.0
    assert tango(10, 0, 10, Z)[0] == pytest.approx(-tango(0, 10, 10, Z)[1], abs=1e-9)


@pytest.mark.parametrize(
    ("items", "discordance", "difference"), [(30, 0.3, 0.0), (100, 0.2, 0.1), (150, 0.5, 0.4), (500, 0.05, -0.02)]
)
def test_tango_covers_the_true_difference(items, discordance, difference):
    draws = 3000
    shares = [(discordance + difference) / 2, (discordance - difference) / 2, 1 - discordance]
    gained, lost = np.random.default_rng(1).multinomial(items, shares, size=draws)[:, :2].T
    low, high = tango(gained, lost, items, Z)
    assert 0.935 <= ((low <= difference) & (difference <= high)).mean() <= 0.965


def test_tango_takes_many_tables_at_once():
    gained, lost = np.array([59, 0, 3]), np.array([1, 0, 3])
    low, high = tango(gained, lost, 150, Z)
    for place in range(3):
        assert (low[place], high[place]) == tango(gained[place], lost[place], 150, Z)


def test_a_correction_for_continuity_widens_tango_as_clopper_and_pearson_would():
    plain, corrected = tango(0, 0, 40, Z), tango(0, 0, 40, Z, 0.5)
    assert corrected[0] < plain[0] < 0 < plain[1] < corrected[1]
    distance = 40 * corrected[1] - 0.5
    assert distance / math.sqrt(40 * corrected[1] * (1 - corrected[1])) == pytest.approx(Z, abs=1e-9)


@given(TABLES)
def test_newcombe_holds_the_estimate_and_mirrors(table):
    both, gained, lost, neither = table
    low, high = newcombe(table, 0.05)
    estimate = (gained - lost) / sum(table)
    assert low <= estimate + 1e-12
    assert high >= estimate - 1e-12
    assert newcombe((both, lost, gained, neither), 0.05) == pytest.approx((-high, -low), abs=1e-9)


def test_newcombe_is_near_tango_on_a_usual_table():
    assert np.allclose(newcombe((75, 59, 1, 15), 0.05), tango(59, 1, 150, Z), atol=0.02)


# -------------------------------------------------------------------------------------------------- clustered


def test_independent_items_have_no_design_effect():
    assert design_effect(np.array([0.0, 1.0, 1.0]), np.arange(3)) == 1.0


def test_repeated_items_have_the_size_of_their_cluster_as_design_effect():
    values = np.repeat(np.tile([0.0, 1.0], 10), 5)
    assert design_effect(values, np.repeat(np.arange(20), 5)) == pytest.approx(5 * 20 / 19, rel=1e-9)


def test_clustered_mean_agrees_with_ordinary_least_squares():
    rng = np.random.default_rng(3)
    clusters = rng.integers(0, 12, size=90)
    values = rng.normal(size=90) + rng.normal(size=12)[clusters]
    fitted = statsmodels.api.OLS(values, np.ones(90)).fit(
        cov_type="cluster", cov_kwds={"groups": clusters, "use_correction": False}
    )
    groups = len(set(clusters.tolist()))
    error = float(fitted.bse[0]) * math.sqrt(groups / (groups - 1))
    reach = scipy.stats.t.ppf(0.975, groups - 1) * error
    found = clustered_mean(values, clusters, 0.05)
    assert (found.low, found.high) == pytest.approx((values.mean() - reach, values.mean() + reach), rel=1e-9)


def test_clustered_mean_of_single_items_is_the_t_interval():
    values = np.random.default_rng(4).normal(size=25)
    expected = scipy.stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    found = clustered_mean(values, np.arange(25), 0.05)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), rel=1e-9)


def test_degrees_of_freedom_are_those_of_a_normal_sample_or_of_the_few_that_vary():
    normal = np.random.default_rng(6).normal(size=(1, 20_000))
    assert effective_degrees(normal)[0] == pytest.approx(20_000, rel=0.05)
    alone = np.zeros((1, 100))
    alone[0, :3] = 1, -1, 1
    assert effective_degrees(alone)[0] == pytest.approx(2 * 100 * 3 / 97)
    assert effective_degrees(np.zeros((1, 100)))[0] == 0
    assert effective_degrees(np.tile([1.0, -1.0], 10)[None])[0] == 19


@given(st.integers(2, 400))
def test_student_quantiles_are_scipys(degrees):
    assert student_quantile(0.975, degrees) == pytest.approx(scipy.stats.t.ppf(0.975, degrees), rel=1e-9)


def test_proportion_of_single_items_is_wilson():
    found = proportion(np.array([1.0] * 9 + [0.0] * 11), np.arange(20), 0.05)
    assert (found.low, found.high) == wilson(9, 20, 0.05)
    assert found.estimate == 0.45


def test_nothing_is_no_evidence():
    nothing = np.zeros(0)
    assert not clustered_mean(nothing, nothing, 0.05).is_evidence
    assert no_interval("none").as_dict()["low"] is None


@settings(max_examples=30)
@given(st.lists(st.tuples(st.floats(-5, 5), st.integers(0, 5)), min_size=1, max_size=40))
def test_cluster_totals_lose_nothing(pairs):
    values, clusters = np.array([v for v, _ in pairs]), np.array([c for _, c in pairs])
    sizes, sums = cluster_totals(values, clusters)
    assert sizes.sum() == len(pairs)
    assert sums.sum() == pytest.approx(values.sum(), abs=1e-9)
    assert len(sizes) == len(set(clusters.tolist()))
