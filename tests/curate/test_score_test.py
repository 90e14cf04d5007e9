import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar

from curate.score_test import continuity, score_statistic

COUNTS = st.integers(0, 60)


def statistic(gained, lost, items, difference, correction=0.0):
    return float(score_statistic(*(np.array(float(one)) for one in (gained, lost, items, difference, correction))))


@given(COUNTS, COUNTS, COUNTS)
def test_at_no_difference_it_is_mcnemars(gained, lost, tied):
    if gained + lost:
        expected = mcnemar([[tied, gained], [lost, 0]], exact=False, correction=False).statistic
        assert statistic(gained, lost, gained + lost + tied, 0.0) ** 2 == pytest.approx(expected, rel=1e-9)


@given(COUNTS, COUNTS, st.integers(1, 60), st.floats(-0.95, 0.95))
def test_it_is_nothing_at_the_estimate_and_grows_away_from_it(gained, lost, tied, difference):
    items = gained + lost + tied
    estimate = (gained - lost) / items
    assert statistic(gained, lost, items, estimate) == pytest.approx(0.0, abs=1e-6)
    between = (estimate + difference) / 2
    assert statistic(gained, lost, items, between) <= statistic(gained, lost, items, difference) + 1e-9


def test_where_nothing_disagrees_it_is_the_odds_of_the_difference():
    assert statistic(0, 0, 20, -0.1) == pytest.approx(math.sqrt(20 * 0.1 / 0.9))
    assert statistic(0, 0, 20, -0.1, 0.5) == pytest.approx(1.5 / math.sqrt(20 * 0.1 * 0.9))


def test_the_correction_fades_with_discordant_items():
    assert list(continuity(np.array([0.0, 5.0, 20.0, 90.0]))) == [0.5, 0.375, 0.0, 0.0]
