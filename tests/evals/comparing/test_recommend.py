"""Which arm is named: by simultaneous intervals, never by points."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals.comparing.recommend import good_enough, least_items, named, still_in_race
from evals.paired import paired_binary

MARGIN = 0.03


def test_an_arm_that_is_shown_to_be_beaten_leaves_the_race():
    low = np.array([[0.0, -0.20, -0.30], [0.05, 0.0, -0.12], [0.11, -0.06, 0.0]])
    assert still_in_race(low).tolist() == [False, True, True]


def test_good_enough_is_less_than_the_margin_below_every_other():
    low = np.array([[0.0, -0.02, -0.029], [-0.03, 0.0, 0.01], [0.2, -0.31, 0.0]])
    assert good_enough(low, MARGIN).tolist() == [True, False, False]


def test_what_is_no_interval_shows_nothing():
    low = np.array([[0.0, np.nan], [np.nan, 0.0]])
    assert still_in_race(low).tolist() == [True, True]
    assert good_enough(low, MARGIN).tolist() == [False, False]


def test_the_cheapest_that_is_good_enough_and_above_the_floor_is_named():
    yes, costs, means = np.array([True] * 3), np.array([5.0, 1.0, 2.0]), np.array([0.9, 0.8, 0.7])
    assert named(yes, yes, costs, means) == 1
    assert named(yes, np.array([True, False, True]), costs, means) == 2
    assert named(np.array([True, False, False]), yes, costs, means) == 0
    assert named(np.array([True, False, True]), np.array([False, True, False]), costs, means) is None
    assert named(yes, yes, np.full(3, np.inf), means) == 0  # no cost is known: the best mean


@given(data=st.data(), arms=st.integers(2, 6))
def test_where_the_comparisons_with_the_best_hold_no_conclusion_is_wrong(data, arms):
    """The proof of the method: whatever the other intervals are, those with the best arm carry every statement."""
    unit = st.floats(0.0, 1.0, allow_nan=False)
    truth = np.array(data.draw(st.lists(unit, min_size=arms, max_size=arms)))
    best = int(np.argmax(truth))
    low = np.array(data.draw(st.lists(st.lists(st.floats(-1, 1), min_size=arms, max_size=arms), min_size=arms)))[:arms]
    slack = np.array(data.draw(st.lists(unit, min_size=2 * arms, max_size=2 * arms)))
    low[best] = truth[best] - truth - slack[:arms]
    low[:, best] = truth - truth[best] - slack[arms:]
    np.fill_diagonal(low, 0.0)
    race = still_in_race(low)
    assert race[best]
    assert (truth[good_enough(low, MARGIN)] > truth[best] - MARGIN).all()
    if race.sum() == 1:
        assert truth[race] == truth.max()


@pytest.mark.parametrize(("margin", "alpha", "items"), [(0.03, 0.01, 251), (0.1, 0.01, 73), (0.03, 0.025, 197)])
def test_a_margin_takes_items_even_where_two_arms_answer_alike(margin, alpha, items):
    assert least_items(margin, alpha, 1.0) == items
    enough, short = (paired_binary(np.ones(n), np.ones(n), np.arange(n), alpha).low for n in (items, items - 1))
    assert short <= -margin < enough
    assert least_items(margin, alpha, 2.0) >= 2 * items - 1
