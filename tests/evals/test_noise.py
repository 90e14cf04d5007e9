import math

import numpy as np
import pytest
import scipy.stats

from evals.noise import Noise, run_noise, widened
from evals.stats import Interval, no_interval


def test_equal_runs_have_no_noise():
    scores = np.tile(np.random.default_rng(0).normal(size=50), (4, 1))
    found = run_noise(scores)
    assert found.variance == pytest.approx(0.0, abs=1e-12)
    assert found.degrees == 3


def test_items_that_flip_on_their_own_are_not_noise_between_runs():
    rng = np.random.default_rng(1)
    flips = [run_noise(rng.normal(size=(5, 200))).variance for _ in range(200)]
    assert np.mean(flips) < 0.5 / 200 / 5  # half of what the variance of the run means would give


def test_the_effect_of_a_run_is_found():
    rng = np.random.default_rng(2)
    effects = [run_noise(rng.normal(size=(6, 100)) + rng.normal(0, 0.5, (6, 1))).variance for _ in range(400)]
    assert np.mean(effects) == pytest.approx(0.25 / 6, rel=0.1)


def test_noise_of_both_models_is_added_once_and_in_squares():
    interval = Interval(0.1, 0.06, 0.16, 100, 100, "m")
    noises = [Noise(0.0004, 5), Noise(0.0001, 3)]
    found = widened(interval, noises, 0.05)
    added = sum(scipy.stats.t.ppf(0.975, n.runs - 1) ** 2 * n.variance for n in noises)
    assert found.low == pytest.approx(0.1 - math.sqrt(0.04**2 + added))
    assert found.high == pytest.approx(0.1 + math.sqrt(0.06**2 + added))
    assert widened(interval, [Noise(0.0, 3)], 0.05) is interval
    assert widened(interval, [], 0.05) is interval
    nothing = no_interval("m", 5, 5, 0.0)
    assert widened(nothing, noises, 0.05) is nothing
