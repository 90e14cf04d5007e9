import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.power import (
    EXACT_ITEMS,
    detectable_gain,
    detectable_margin,
    items_for_gain,
    items_for_margin,
    items_for_variance,
    items_needed,
    power,
)
from evals.paired import score_ends


def passing_share(items, discordance, truth, threshold):
    """Every table of gains and losses, its trinomial probability, and the gate's own interval around it."""
    gained, lost = (counts.ravel() for counts in np.mgrid[0 : items + 1, 0 : items + 1])
    possible = gained + lost <= items
    gained, lost = gained[possible], lost[possible]
    shares = [(discordance + truth) / 2, (discordance - truth) / 2, 1 - discordance]
    chance = scipy.stats.multinomial.pmf(np.stack([gained, lost, items - gained - lost], axis=1), items, shares)
    low, _ = score_ends(gained.astype(float), lost.astype(float), items, items, 0.05)
    return float(chance[low > threshold].sum())


@pytest.mark.parametrize(
    ("items", "discordance", "truth", "threshold"),
    [
        (20, 0.05, 0.0, -0.2),
        (40, 0.5, 0.3, 0.0),
        (60, 0.1, -0.02, -0.05),
        (100, 0.02, 0.0, -0.05),
        (100, 0.4, 0.1, 0.05),
        (100, 0.3, 0.3, 0.0),
        (100, 0.0, 0.0, -0.05),
    ],
)
def test_power_is_the_probability_of_the_tables_that_pass_the_gate(items, discordance, truth, threshold):
    expected = passing_share(items, discordance, truth, threshold)
    assert power(items, discordance, truth, threshold, 0.05) == pytest.approx(expected, abs=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.integers(10, 80), st.floats(0.01, 1.0), st.floats(-1, 1), st.floats(-0.5, 0.5))
def test_power_is_a_probability_and_rises_as_the_bar_falls(items, discordance, part, threshold):
    truth = discordance * part
    shown = power(items, discordance, truth, threshold, 0.05)
    assert -1e-12 <= shown <= power(items, discordance, truth, threshold - 0.1, 0.05) + 1e-12 <= 1 + 1e-9


def test_fewer_items_than_a_verdict_needs_show_nothing():
    assert power(9, 1.0, 1.0, -0.9, 0.05) == 0.0
    assert power(10, 1.0, 1.0, 0.1, 0.05) == pytest.approx(1.0)
    assert detectable_gain(9, 0.05) == detectable_margin(9, 0.05) == math.inf


def test_the_worked_numbers():
    assert items_for_gain(0.15, 0.05) == 173
    assert items_for_margin(0.03, 0.05) == 4361
    assert items_for_margin(0.05, 0.05) == 1571
    assert detectable_gain(150, 0.05) == pytest.approx(0.160558, abs=1e-6)
    assert detectable_margin(150, 0.05) == pytest.approx(0.161297, abs=1e-6)


@pytest.mark.parametrize(("truth", "threshold", "discordance"), [(0.15, 0.0, 0.5), (0.0, -0.05, 0.1), (0.02, -0.03, 0)])
def test_the_items_needed_reach_the_power_and_one_fewer_does_not(truth, threshold, discordance):
    items, psi = items_needed(truth, threshold, discordance, 0.05), max(discordance, truth)
    assert power(items, psi, truth, threshold, 0.05) >= 0.8 > power(items - 1, psi, truth, threshold, 0.05)
    assert items_needed(truth, threshold, discordance, 0.05, effect=2.5) == math.ceil(2.5 * items)


@pytest.mark.parametrize("items", [20, 100, 1000])
def test_what_is_detectable_is_shown_and_a_little_less_is_not(items):
    gain, margin = detectable_gain(items, 0.05), detectable_margin(items, 0.05)
    shown = [power(items, max(0.5, one), one, 0.0, 0.05) for one in (gain, gain - 1e-4)]
    kept = [power(items, 0.5, 0.0, -one, 0.05) for one in (margin, margin - 1e-4)]
    assert shown[0] >= 0.8 > shown[1]
    assert kept[0] >= 0.8 > kept[1]


def test_more_items_more_discordance_and_a_stricter_level_act_as_they_must():
    assert detectable_gain(400, 0.05) < detectable_gain(100, 0.05)
    assert detectable_gain(100, 0.05, discordance=0.2) < detectable_gain(100, 0.05)
    assert detectable_gain(100, 0.01) > detectable_gain(100, 0.05)
    assert detectable_gain(100, 0.05, threshold=0.1) > detectable_gain(100, 0.05) + 0.09
    assert items_for_gain(0.15, 0.05, threshold=0.1) > items_for_gain(0.15, 0.05)


def test_the_approximation_takes_over_where_it_makes_no_difference():
    at, beyond = detectable_margin(EXACT_ITEMS, 0.05), detectable_margin(EXACT_ITEMS + 1, 0.05)
    assert at == pytest.approx(beyond, rel=1e-4)
    assert detectable_gain(EXACT_ITEMS, 0.05) == pytest.approx(detectable_gain(EXACT_ITEMS + 1, 0.05), rel=1e-4)
    assert items_for_margin(0.001, 0.05) == math.ceil(items_for_variance(0.001, 0.5, 0.05))


def test_a_truth_that_is_not_above_the_threshold_is_refused():
    with pytest.raises(ValueError, match="above the threshold"):
        items_needed(0.1, 0.1, 0.5, 0.05)


def test_a_bar_below_nothing_is_cleared_by_a_loss():
    allowed = detectable_gain(100, 0.05, discordance=0.2, threshold=-0.5)
    assert -0.5 < allowed < -0.3
    assert power(100, -allowed, allowed, -0.5, 0.05) >= 0.8
