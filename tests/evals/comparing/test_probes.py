"""What is measured of one arm beside its quality."""

import numpy as np
import polars as pl
import pytest

from evals.comparing import probes
from evals.stats import clustered_mean, wilson


def answers(**columns):
    items = len(next(iter(columns.values())))
    usual = {"item_id": [f"i{k}" for k in range(items)], "cluster": list(range(items))}
    return pl.DataFrame(usual | columns)


def test_quality_of_zeros_and_ones_has_wilsons_interval_and_a_failure_is_a_zero():
    found = probes.quality(answers(score=[1.0] * 30 + [0.0] * 8 + [None] * 2), 0.05)
    assert found is not None
    low, high = wilson(30, 40, 0.05)
    assert found.estimate == 0.75
    assert found.low == pytest.approx(low, abs=1e-6)
    assert found.high == pytest.approx(high, abs=1e-6)


def test_graded_quality_stays_within_its_bounds():
    scores = np.array([1.0] * 19 + [0.4])
    found = probes.quality(answers(score=scores), 0.05)
    plain = clustered_mean(scores, np.arange(20), 0.05)
    assert found is not None
    assert plain.high > 1.0
    assert found.high == 1.0
    assert found.low == pytest.approx(plain.low, abs=1e-6)


def test_items_of_one_cluster_widen_the_interval():
    alone = probes.quality(answers(score=[1.0, 0.0] * 20), 0.05)
    paired = probes.quality(answers(score=[1.0] * 20 + [0.0] * 20, cluster=[k // 4 for k in range(40)]), 0.05)
    assert alone is not None
    assert paired is not None
    assert paired.low is not None
    assert alone.low is not None
    assert paired.low < alone.low - 0.05


def test_fresh_items_are_told_apart_and_only_where_there_are_some():
    table = answers(score=[1.0, 1.0, 0.0, 0.0], fresh=[False, False, True, True])
    fresh, others = probes.fresh_apart(table, 0.05)
    assert fresh is not None
    assert others is not None
    assert (fresh.estimate, others.estimate) == (0.0, 1.0)
    assert probes.fresh_apart(table.with_columns(fresh=False), 0.05) == (None, None)


def test_paraphrases_of_one_question_are_one_cluster():
    table = answers(score=[1.0] * 12)
    same = pl.DataFrame({"item_id": [f"i{k // 3}" for k in range(36)], "same": [k < 18 for k in range(36)]})
    found = probes.agreement(same, table, 0.05)
    assert found is not None
    assert (found.estimate, found.items, found.clusters) == (0.5, 36, 12)
    assert found.low is not None
    assert found.low < wilson(18, 36, 0.05)[0]
    assert probes.agreement(same.clear(), table, 0.05) is None
    half = same.with_columns(same=pl.when(pl.col("same")).then(pl.lit(True)))
    unanswered = probes.agreement(half, table, 0.05)
    assert unanswered is not None
    assert (unanswered.estimate, unanswered.items) == (1.0, 18)


def test_form_latency_tokens_and_grounding():
    formatted = pl.Series([True, True, False, None], dtype=pl.Boolean)
    form = probes.form_adherence(answers(formatted=formatted), 0.05)
    assert form is not None
    assert form.estimate == pytest.approx(2 / 3, abs=1e-6)
    assert form.items == 3
    assert probes.form_adherence(answers(formatted=pl.Series([None], dtype=pl.Boolean)), 0.05) is None
    timed = probes.latency(pl.DataFrame({"seconds": [1.0, 2.0, 3.0, 4.0, 10.0]}))
    assert timed is not None
    assert (timed.timed, timed.mean, timed.p50) == (5, 4.0, 3.0)
    assert timed.p95 == pytest.approx(8.8)
    assert probes.latency(pl.DataFrame({"seconds": []}, schema={"seconds": pl.Float64})) is None
    assert probes.mean(answers(tokens_in=[1, 2, 6]), "tokens_in") == 3.0
    assert probes.grounding(answers(grounded=[0.5, None, 1.0])) == (0.75, 2)
