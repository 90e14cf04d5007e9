"""The published error rates are of the product's own intervals and rule: one test set at a time gives the same."""

import numpy as np
import pytest

from benchmarks.compare_simulation import TRUTHS, decision, drawn, intervals, named_arms, share


@pytest.mark.parametrize(("kind", "size"), [("label", 1), ("graded", 4)])
def test_many_sets_at_once_are_judged_as_one_is(kind, size):
    rng = np.random.default_rng(7)
    found = set()
    for truth in (TRUTHS[0], TRUTHS[3]):
        scores, means = drawn(kind, truth, (12, 120 // size, size), rng)
        low, above = intervals(kind, scores, draws=4000)
        chosen = named_arms(low, above, scores[..., :-1].mean(axis=(1, 2)), truth.margin)
        assert np.abs(scores.mean(axis=(0, 1, 2)) - means).max() < 0.06
        alone = [decision(scores[number], truth.margin) for number in range(2)]
        assert [one.arm for one in alone] == chosen[:2]
        found |= set(chosen)
    assert len(found) > 1


def test_a_share_has_its_clopper_pearson_interval():
    assert share(0, 100) == "0.0% [0.0, 3.6]"
