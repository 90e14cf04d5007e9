"""Improved, non-inferior, inconclusive, regressed, blocked, stale: by task, by slice and overall."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from evals import decide, gate
from evals.consistency import read_items_table
from evals.evidence import Evidence
from evals.gates import improve, not_regress, slices
from schemas.config import ModelGateConfig
from schemas.errors import ManifestError
from schemas.verdict import Check, Outcome, Standing, combine, overall
from tests.evals.made_evidence import NOT_REGRESS, made_evidence, scores_of, table

PASS, FAIL, INCONCLUSIVE = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE


def only(checks):
    (check,) = checks
    return check


@pytest.mark.parametrize(
    ("counts", "outcome", "verdict"),
    [
        ((40, 3, 300, 57), PASS, "improved"),
        ((3, 3, 300, 94), PASS, "non_inferior"),
        ((0, 20, 1500, 480), PASS, "non_inferior"),  # a loss, and smaller than the margin
        ((0, 0, 15, 5), INCONCLUSIVE, "inconclusive"),
        ((3, 22, 300, 75), FAIL, "regressed"),
        ((3, 60, 300, 37), FAIL, "blocked"),  # beyond the margin
    ],
)
def test_standing_of_a_task_that_must_not_regress(counts, outcome, verdict):
    check = only(not_regress.judge(made_evidence(table(*counts), task=NOT_REGRESS)))
    assert (check.outcome, check.verdict) == (outcome, verdict)


@pytest.mark.parametrize(
    ("counts", "outcome", "verdict"),
    [
        ((60, 2, 60, 28), PASS, "improved"),
        ((5, 2, 8, 5), INCONCLUSIVE, "inconclusive"),
        ((0, 0, 75, 75), FAIL, "blocked"),  # the planned gain is ruled out
        ((2, 40, 60, 48), FAIL, "blocked"),
    ],
)
def test_standing_of_a_task_that_must_improve(counts, outcome, verdict):
    check = only(improve.judge(made_evidence(table(*counts))))
    assert (check.outcome, check.verdict) == (outcome, verdict)


def test_an_inconclusive_continuous_score_says_how_many_items_would_decide():
    base = [0.5 + k % 5 / 20 for k in range(40)]
    scores = {"base": base, "tuned": [b + (k % 3 - 1) / 10 for k, b in enumerate(base)]}
    check = only(not_regress.judge(made_evidence(scores, task={"must": "not_regress", "margin": 0.02})))
    assert check.verdict == "inconclusive"
    assert 40 < check.measured["items_to_decide"] < 400


@pytest.mark.parametrize(
    ("counts", "bar", "items"),
    [
        ((4, 6, 30, 20), -0.05, 4726),  # the loss measured is inside the margin, and could be shown to be
        ((4, 9, 30, 17), -0.05, 237),  # it is beyond the margin: so many show that it is a loss
        ((2, 2, 8, 8), 0.0, None),  # nothing was gained or lost
        ((12, 1, 20, 17), 0.0, 100),  # these fifty had the power already
    ],
)
def test_items_that_would_decide(counts, bar, items):
    found = made_evidence(table(*counts)).compare("t", "base")
    assert decide.deciding_items(found, bar, 0.05) == items


# --------------------------------------------------------------------------------------------- overall and together


def check_of(outcome, verdict=None):
    return Check(name="c", outcome=outcome, verdict=verdict, message="m")


@pytest.mark.parametrize(
    ("checks", "standing"),
    [
        ([(PASS, "non_inferior"), (PASS, "improved")], "improved"),
        ([(PASS, "non_inferior"), (PASS, None)], "non_inferior"),
        ([(PASS, "improved"), (INCONCLUSIVE, None)], "inconclusive"),
        ([(FAIL, "regressed"), (Outcome.STALE, "stale")], "regressed"),
        ([(FAIL, "regressed"), (FAIL, None)], "blocked"),
        ([(Outcome.STALE, None), (INCONCLUSIVE, "inconclusive")], "stale"),
        ([(Outcome.NOT_APPLICABLE, "regressed"), (PASS, "improved")], "improved"),
        ([], "inconclusive"),
    ],
)
def test_overall(checks, standing):
    assert overall([check_of(*one) for one in checks]) == standing


SAME = {
    PASS: {Standing.IMPROVED, Standing.NON_INFERIOR},
    FAIL: {Standing.REGRESSED, Standing.BLOCKED},
    INCONCLUSIVE: {Standing.INCONCLUSIVE},
    Outcome.STALE: {Standing.STALE},
}
CHECKS = st.sampled_from([(outcome, verdict) for outcome, verdicts in SAME.items() for verdict in verdicts])


@given(st.lists(CHECKS))
def test_the_overall_standing_says_what_the_overall_outcome_says(found):
    checks = [check_of(*one) for one in found]
    assert overall(checks) in SAME[combine(check.outcome for check in checks)]


def several(counts, tasks):
    """The same margin on many tasks, of which the first has these counts and the others are ties."""
    made = [made_evidence(table(*(counts if k == 0 else (0, 0, 300, 100))), task=NOT_REGRESS) for k in range(tasks)]
    items = pl.concat([one.items.with_columns(task=pl.lit(f"t{k}")) for k, one in enumerate(made)])
    results = made[0].results.model_copy(update={"tasks": {f"t{k}": made[0].results.tasks["t"] for k in range(tasks)}})
    conditions = ModelGateConfig.model_validate({"tasks": {f"t{k}": NOT_REGRESS for k in range(tasks)}})
    return Evidence(results, items, made[0].losses, conditions)


def test_a_regression_that_chance_explains_among_many_tasks_is_inconclusive():
    alone = next(iter(not_regress.judge(several((8, 21, 300, 71), 1))))
    assert (alone.outcome, alone.verdict) == (FAIL, "regressed")
    among = next(iter(not_regress.judge(several((8, 21, 300, 71), 10))))
    assert (among.outcome, among.verdict) == (INCONCLUSIVE, "inconclusive")
    assert among.measured["p_worse_holm"] == pytest.approx(10 * alone.measured["p_worse"], rel=0.01)


def test_all_tasks_non_inferior_needs_no_correction():
    checks = list(not_regress.judge(several((0, 0, 300, 100), 10)))
    assert {check.verdict for check in checks} == {Standing.NON_INFERIOR}
    assert overall(checks) == "non_inferior"


# ------------------------------------------------------------------------------------------------ failures and runs


def test_items_that_the_baseline_failed_on_decide_nothing_either_way():
    base, tuned = [None] * 40 + scores_of(300, 60), scores_of(340, 60)
    found = made_evidence({"base": base, "tuned": tuned}, task=NOT_REGRESS).compare("t", "base")
    assert found.baseline_failed == 40
    assert (found.interval.low <= 0, found.interval.high > 0.08) == (True, True)
    worse = made_evidence({"base": [None] * 40 + scores_of(300, 60), "tuned": scores_of(0, 40) + scores_of(300, 60)})
    interval = worse.compare("t", "base").interval
    assert interval.low < -0.05
    assert interval.high > 0  # it may have failed on what the baseline would not have known either


def test_samples_of_an_item_are_averaged_inside_it():
    evidence = made_evidence({"base": scores_of(60, 60), "tuned": scores_of(80, 40)})
    again = evidence.items.with_columns(sample=pl.lit(1, pl.Int64))
    twice = Evidence(evidence.results, pl.concat([evidence.items, again]), evidence.losses, evidence.conditions)
    assert twice.compare("t", "base").interval == evidence.compare("t", "base").interval


def test_half_right_items_are_continuous():
    evidence = made_evidence({"base": scores_of(60, 60), "tuned": scores_of(80, 40)})
    flipped = evidence.items.with_columns(sample=pl.lit(1, pl.Int64), score=1 - pl.col("score"))
    both = Evidence(evidence.results, pl.concat([evidence.items, flipped]), evidence.losses, evidence.conditions)
    found = both.compare("t", "base")
    assert not found.binary
    assert (found.candidate_mean, found.interval.items) == (0.5, 120)


def test_noise_between_runs_widens_the_interval():
    quiet = made_evidence({"base": scores_of(60, 60) * 3, "tuned": scores_of(90, 30) * 3}, runs=3)
    once = made_evidence({"base": scores_of(60, 60), "tuned": scores_of(90, 30)})
    assert quiet.compare("t", "base").interval == once.compare("t", "base").interval
    tuned = scores_of(70, 50) + scores_of(90, 30) + scores_of(110, 10)
    noisy = made_evidence({"base": scores_of(60, 60) * 3, "tuned": tuned}, runs=3).compare("t", "base")
    assert noisy.as_dict()["runs"] == [3, 3]
    assert noisy.as_dict()["noise_variance"] > 0
    assert noisy.interval.low < 0 < once.compare("t", "base").interval.low


def test_runs_on_other_items_are_refused():
    evidence = made_evidence({"base": scores_of(60, 60) * 2, "tuned": scores_of(90, 30) * 2}, runs=2)
    items = evidence.items.filter(~((pl.col("run") == 1) & (pl.col("position") == 3)))
    with pytest.raises(ManifestError, match="not scored on the same items"):
        Evidence(evidence.results, items, evidence.losses, evidence.conditions).compare("t", "base")


# ----------------------------------------------------------------------------------------------------------- slices


def test_slices_are_shown_and_decide_nothing():
    counts = table(30, 2, 300, 68)
    lost = {"base": counts["base"] + scores_of(60, 0), "tuned": counts["tuned"] + scores_of(30, 30)}
    kinds = ["long"] * 400 + ["short"] * 60
    evidence = made_evidence(lost, task=NOT_REGRESS, slices=kinds)
    found = {check.name: check for check in slices.judge(evidence)}
    assert list(found) == ["t:slice:kind=long", "t:slice:kind=short"]
    assert {check.outcome for check in found.values()} == {Outcome.NOT_APPLICABLE}
    assert found["t:slice:kind=long"].verdict == "improved"
    assert found["t:slice:kind=short"].verdict == "regressed"
    assert found["t:slice:kind=short"].measured["items"] == 60
    verdict = gate.judge(evidence, {})
    assert verdict.outcome is only(not_regress.judge(evidence)).outcome


def test_a_small_slice_is_inconclusive_and_says_how_many_items_would_decide():
    evidence = made_evidence(table(0, 1, 10, 9), task=NOT_REGRESS, slices=["a"] * 20)
    check = only(slices.judge(made_evidence(table(1, 1, 10, 8), task=NOT_REGRESS, slices=["a"] * 20)))
    assert check.verdict == "inconclusive"
    assert check.measured["items_to_decide"] > 100
    assert evidence.slices("t") == {"kind=a": sorted(f"item{k}" for k in range(20))}


def test_items_without_the_newer_columns_are_read_and_broken_slices_are_refused(tmp_path):
    items = made_evidence({"base": scores_of(2, 1)}).items
    path = tmp_path / "items.parquet"
    items.drop("run", "sample", "slices").write_parquet(path)
    assert read_items_table(path).select(items.columns).equals(items)
    items.with_columns(slices=pl.lit('{"kind": {"deep": 1}}')).write_parquet(path)
    with pytest.raises(ManifestError, match="slices of an item cannot be read"):
        read_items_table(path)
