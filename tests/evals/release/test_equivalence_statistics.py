"""The statistics behind a verdict of equivalence, beside other people's and by simulation with a known truth."""

import math

import numpy as np
import polars as pl
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import entropy
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from evals.comparison import compare_scores
from evals.paired import binary_ends, continuous_ends
from evals.release.answers import items_to_decide, within
from evals.release.divergence_checks import divergence_check, log_p_check, record_check
from evals.release.reading import Parting, divergence, equal_top, largest, mean_per_token
from schemas.verdict import Outcome

ALPHA = 0.05


def compared(exported, judged, clusters=None):
    """`compare_scores` of two lists of scores."""
    count = len(judged)
    keys = {"item_id": [str(k) for k in range(count)], "position": range(count), "run": 0, "sample": 0}
    keys["cluster"] = list(range(count)) if clusters is None else clusters
    tables = [
        pl.DataFrame({**keys, "score": scores}, schema_overrides={"score": pl.Float64}) for scores in (exported, judged)
    ]
    return compare_scores(*tables, higher=True, alpha=ALPHA, seed=0)


def binary(gained, lost, count):
    judged = [0.0] * gained + [1.0] * (count - gained)
    exported = [1.0] * gained + [0.0] * lost + [1.0] * (count - gained - lost)
    return compared(exported, judged)


# -------------------------------------------------------------------------------------------------------------- TOST


@pytest.mark.parametrize(
    ("gained", "lost", "count", "outcome"),
    [
        (0, 0, 1000, Outcome.PASS),
        (3, 4, 1000, Outcome.PASS),
        (0, 0, 150, Outcome.INCONCLUSIVE),  # not one of 150 differs, and 2% of all may
        (12, 12, 1000, Outcome.PASS),
        (60, 60, 1000, Outcome.INCONCLUSIVE),
        (0, 60, 1000, Outcome.FAIL),
        (60, 0, 1000, Outcome.FAIL),  # better is not the same
        (0, 20, 1000, Outcome.INCONCLUSIVE),
        (0, 0, 9, Outcome.INCONCLUSIVE),
    ],
)
def test_a_task_is_the_same_only_where_the_whole_interval_lies_within_the_margin(gained, lost, count, outcome):
    assert within(binary(gained, lost, count), 0.02) is outcome


def test_being_shown_not_to_be_worse_is_not_enough():
    found = binary(40, 5, 1000)
    assert found.interval.low > -0.02
    assert within(found, 0.02) is not Outcome.PASS


@pytest.mark.parametrize(("shift", "count"), [(0.0, 400), (0.015, 400), (0.03, 400), (-0.06, 400), (0.0, 40)])
def test_two_one_sided_tests_of_statsmodels_agree_on_continuous_scores(shift, count):
    draw = np.random.default_rng(count)
    judged = draw.uniform(0.2, 0.8, count)
    exported = judged + shift + draw.normal(scale=0.1, size=count)
    found = compared((exported + 0.0).tolist(), judged.tolist())
    p_value, _, _ = DescrStatsW(exported - judged).ttost_mean(-0.02, 0.02)
    assert (within(found, 0.02) is Outcome.PASS) == (p_value < ALPHA / 2)


@pytest.mark.parametrize(("discordance", "truth"), [(0.05, 0.02), (0.05, -0.02), (0.08, 0.02), (0.02, -0.02)])
def test_a_difference_as_large_as_the_margin_passes_in_at_most_its_share_of_runs(discordance, truth):
    """At the edge of the margin each one-sided test may pass with alpha / 2."""
    count, runs, margin = 1500, 20_000, 0.02
    draw = np.random.default_rng(7)
    gain = (discordance + truth) / 2
    table = draw.multinomial(count, [gain, discordance - gain, 1 - discordance], size=runs).astype(np.float64)
    counts, times = np.unique(table[:, :2], axis=0, return_counts=True)
    sizes = np.ones(count)
    ends = [_ends(gained, lost, sizes) for gained, lost in counts]
    passed = sum(t for (low, high), t in zip(ends, times, strict=True) if -margin < low and high < margin)
    bound = 0.025 + 3 * math.sqrt(0.025 * 0.975 / runs)
    assert 0 < passed / runs <= bound


def _ends(gained, lost, sizes):
    won, gone = np.zeros_like(sizes), np.zeros_like(sizes)
    won[: int(gained)] = 1
    gone[int(gained) : int(gained + lost)] = 1
    low, high = binary_ends(won, gone, sizes, ALPHA)
    return float(low), float(high)


@pytest.mark.parametrize(("gained", "lost"), [(0, 0), (4, 4), (2, 4)])
def test_so_many_items_would_decide_in_four_of_five_runs(gained, lost):
    found, margin = binary(gained, lost, 150), 0.04
    count = items_to_decide(found, margin, ALPHA)
    assert count is not None
    discordance, truth = (gained + lost) / 150, (gained - lost) / 150
    gain = (discordance + truth) / 2
    draw = np.random.default_rng(3)
    table = draw.multinomial(count, [gain, discordance - gain, 1 - discordance], size=4000).astype(np.float64)
    counts, times = np.unique(table[:, :2], axis=0, return_counts=True)
    ends = [_ends(gain, loss, np.ones(count)) for gain, loss in counts]
    passed = sum(t for (low, high), t in zip(ends, times, strict=True) if -margin < low and high < margin)
    assert passed / 4000 >= 0.8 - 3 * math.sqrt(0.16 / 4000)


def test_an_interval_that_few_clusters_widen_asks_for_more_items_than_there_are():
    judged, exported = [1.0] * 900, [0.0] * 2 + [1.0] * 898
    threads = compared(exported, judged, ["thread"] * 60 + [f"c{k}" for k in range(840)])
    alone = compared(exported, judged)
    assert within(alone, 0.02) is Outcome.PASS
    assert within(threads, 0.02) is Outcome.INCONCLUSIVE
    count = items_to_decide(threads, 0.02, ALPHA)
    assert count is not None
    assert count > 900


def test_more_items_do_not_help_where_the_difference_is_the_margin_or_more():
    assert items_to_decide(binary(0, 6, 150), 0.04, ALPHA) is None


# --------------------------------------------------------------------------------------------------------- divergence


@given(st.lists(st.floats(-8, 8), min_size=2, max_size=30), st.integers(0, 1000))
def test_divergence_is_that_of_scipy(logits, seed):
    p = torch.tensor(logits).log_softmax(-1)
    q = (torch.tensor(logits) + torch.tensor(np.random.default_rng(seed).normal(size=len(logits)))).log_softmax(-1)
    expected = entropy(p.double().exp(), q.double().exp())
    assert divergence(p, q) == pytest.approx(expected, abs=1e-5)
    assert divergence(p, p) == 0.0


def test_a_token_that_cannot_come_weighs_nothing_and_one_that_cannot_come_in_the_export_is_infinite():
    sure, open_ = torch.tensor([0.0, -math.inf]), torch.tensor([math.log(0.5), math.log(0.5)])
    assert divergence(sure, open_) == pytest.approx(math.log(2))
    assert divergence(open_, sure) == math.inf


def partings(kl, tokens=10, *, answer=2, largest=0.0, same=1.0):
    top = np.full(tokens, same)
    return [
        Parting(f"t:{k}", tokens, answer, tokens, largest, value * tokens, value * tokens, value * answer, top)
        for k, value in enumerate(kl)
    ]


def test_a_mean_per_token_weighs_sequences_by_their_tokens_and_joins_those_of_a_cluster():
    both = [*partings([0.1], tokens=10), *partings([0.4], tokens=30)]  # one cluster
    more = [Parting("t:9", 20, 0, 20, 0.0, 0.0, 4.0, 0.0, np.ones(20))]
    found = mean_per_token(both + more, "kl", "tokens", ALPHA, 0)
    assert found.estimate == pytest.approx((0.1 * 10 + 0.4 * 30 + 4.0) / 60)
    assert (found.items, found.clusters) == (60, 2)
    assert mean_per_token(more, "answer_kl", "answer_tokens", ALPHA, 0).items == 0


@pytest.mark.parametrize(("deviation", "most"), [(0.5, 0.06), (1.0, 0.1)])
def test_the_upper_end_of_skewed_divergences_seldom_lies_below_the_truth(deviation, most):
    """alpha / 2 is what it should be; a heavy tail that 100 sequences do not show makes it more."""
    values = np.random.default_rng(1).lognormal(-4.0, deviation, (400, 100))
    low, high = continuous_ends(values, np.ones(100), ALPHA, 0, 1000)
    truth = math.exp(-4.0 + deviation**2 / 2)
    assert 0 < (high < truth).mean() <= most
    assert (low > truth).mean() <= 0.025


def test_the_interval_of_a_mean_per_token_is_that_of_the_gate():
    values = np.random.default_rng(2).lognormal(-4.0, 0.5, 50)
    found = mean_per_token(partings(values), "kl", "tokens", ALPHA, 3)
    low, high = continuous_ends(values * 10, np.full(50, 10.0), ALPHA, 3)
    assert (found.low, found.high) == (float(low), float(high))


@pytest.mark.parametrize(
    ("values", "outcome"),
    [
        (np.full(40, 0.01), Outcome.PASS),
        (np.full(40, 0.2), Outcome.FAIL),
        (np.r_[np.full(30, 0.001), np.full(10, 0.15)], Outcome.INCONCLUSIVE),
        (np.full(9, 0.01), Outcome.INCONCLUSIVE),
        (np.r_[np.full(40, 0.01), math.inf], Outcome.FAIL),
    ],
)
def test_divergence_is_judged_by_the_end_of_its_interval(values, outcome):
    kl = mean_per_token(partings(values), "kl", "tokens", ALPHA, 0)
    answers = mean_per_token(partings(values), "answer_kl", "answer_tokens", ALPHA, 0)
    found = divergence_check(kl, answers, 0.05, exact=False)
    assert found.outcome is outcome
    assert found.required["max_kl"] == 0.05
    if outcome is Outcome.INCONCLUSIVE:
        assert "sequences would decide" in found.help


def test_answers_are_judged_apart_from_prompts():
    calm, wild = np.full(40, 0.001), np.full(40, 0.5)
    kl = mean_per_token(partings(calm), "kl", "tokens", ALPHA, 0)
    answers = mean_per_token(partings(wild), "answer_kl", "answer_tokens", ALPHA, 0)
    assert divergence_check(kl, answers, 0.05, exact=False).outcome is Outcome.FAIL


def test_equal_top_tokens_of_sequences_of_one_token_have_the_interval_of_statsmodels():
    found = equal_top([*partings([0.0] * 45, tokens=1), *_renamed(partings([0.0] * 5, tokens=1, same=0.0))], ALPHA)
    assert found.estimate == 0.9
    assert (found.low, found.high) == pytest.approx(proportion_confint(45, 50, ALPHA, method="wilson"))


def _renamed(found):
    from dataclasses import replace

    return [replace(one, cluster=f"u{one.cluster}") for one in found]


# ---------------------------------------------------------------------------------------------------- log-probabilities


@pytest.mark.parametrize(("far", "outcome"), [(1e-3, Outcome.PASS), (1.01e-3, Outcome.FAIL), (math.nan, Outcome.FAIL)])
def test_no_token_may_differ_by_more_than_the_bound(far, outcome):
    found = partings([0.0, 0.0], largest=far)
    if math.isnan(far):
        found = [Parting("t:0", 1, 1, 1, far, far, far, far, np.zeros(1))]
    assert log_p_check(largest(found), found, 1e-3).outcome is outcome


def test_nothing_compared_is_no_evidence():
    assert log_p_check(None, [], 1e-3).outcome is Outcome.INCONCLUSIVE


def test_a_judged_model_that_is_not_the_recorded_one_is_found_out():
    assert [check.outcome for check in record_check([1e-6, 2e-3], 1e-3, full=True)] == [Outcome.INCONCLUSIVE]
    assert [check.outcome for check in record_check([1e-6], 1e-3, full=True)] == [Outcome.PASS]
    assert record_check([1.0], 1e-3, full=False) == record_check([], 1e-3, full=True) == ()
