import math
import random
from statistics import NormalDist

import pytest

from curate.power import detectable_gain, detectable_margin, items_for_gain, items_for_margin, items_needed


def test_the_worked_numbers():
    assert detectable_gain(150, 0.05) == pytest.approx(0.15768, abs=5e-6)
    assert items_for_gain(0.15, 0.05) == 167
    assert detectable_margin(150, 0.05) == pytest.approx(0.16175, abs=5e-6)
    assert items_for_margin(0.03, 0.05) == 4361


@pytest.mark.parametrize("items", [1, 10, 100, 1000, 100_000])
def test_gain_and_items_are_inverse(items):
    gain = detectable_gain(items, 0.05)
    assert items_needed(gain, max(0.5, gain), 0.05) == pytest.approx(items)


def test_more_items_more_discordance_and_a_stricter_level_act_as_they_must():
    assert detectable_gain(400, 0.05) < detectable_gain(100, 0.05)
    assert detectable_gain(100, 0.05, discordance=0.2) < detectable_gain(100, 0.05)
    assert detectable_gain(100, 0.01) > detectable_gain(100, 0.05)
    assert detectable_gain(0, 0.05) == detectable_margin(0, 0.05) == math.inf


def test_a_distance_of_nothing_is_refused():
    with pytest.raises(ValueError, match="positive"):
        items_needed(0.0, 0.5, 0.05)


def test_simulated_pairs_reach_the_planned_power():
    gain, discordance, alpha = 0.2, 0.5, 0.05
    items = math.ceil(items_needed(gain, discordance, alpha))
    draw, shown, runs = random.Random(7), 0, 2000
    z = NormalDist().inv_cdf(1 - alpha / 2)
    for _ in range(runs):
        scores = draw.choices(
            (1, -1, 0), ((discordance + gain) / 2, (discordance - gain) / 2, 1 - discordance), k=items
        )
        mean = sum(scores) / items
        deviation = math.sqrt(sum((score - mean) ** 2 for score in scores) / (items - 1))
        shown += mean - z * deviation / math.sqrt(items) > 0
    assert 0.77 < shown / runs < 0.83
