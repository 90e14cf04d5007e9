import math

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from evals import decide, gate
from evals.discovery import modules
from evals.gates import baseline, beats_references, improve, not_regress, overfitting, slices
from evals.stats import Interval
from schemas.errors import ManifestError, UserError
from schemas.verdict import Outcome
from tests.evals.made_evidence import IMPROVE, NOT_REGRESS, made_evidence, scores_of, table

PASS, FAIL, INCONCLUSIVE = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE


def only(checks):
    (check,) = checks
    return check


# ------------------------------------------------------------------------------------------------------- improve


def test_a_clear_gain_passes():
    check = only(improve.judge(made_evidence(table(60, 2, 60, 28))))
    assert check.name == "t:improve"
    assert check.outcome is PASS
    assert check.measured["estimate"] == pytest.approx(58 / 150, abs=1e-6)
    assert check.measured["low"] > 0.28
    assert (check.measured["gained"], check.measured["lost"]) == (60, 2)
    assert check.measured["mcnemar_p"] < 1e-12
    assert "tuned scores 0.800, base 0.413 on 150 items: difference +0.387" in check.message
    assert check.help == ""


def test_a_model_that_changes_nothing_does_not_pass():
    check = only(improve.judge(made_evidence(table(0, 0, 75, 75))))
    assert check.outcome is FAIL
    assert "0.15 is ruled out" in check.message


def test_a_model_that_is_worse_fails():
    assert only(improve.judge(made_evidence(table(2, 40, 60, 48)))).outcome is FAIL


def test_too_few_items_are_inconclusive_and_say_how_many_would_decide():
    check = only(improve.judge(made_evidence(table(5, 2, 8, 5))))
    assert check.outcome is INCONCLUSIVE
    assert check.measured["items_to_decide"] == 118  # enumerated; by the normal approximation 115
    assert "about 118 items would decide" in check.help


@pytest.mark.parametrize(
    ("counts", "task", "advice"),
    [
        (table(0, 0, 5, 4), IMPROVE, "about 173 items can show a gain of 0.15"),
        (table(2, 3, 5, 4), IMPROVE, "about 173 items can show a gain of 0.15"),
        (table(2, 5, 5, 8), NOT_REGRESS, "about 1,571 items can rule out a loss of 0.05"),
    ],
    ids=["no evidence", "an estimate on the wrong side", "a loss"],
)
def test_advice_always_names_a_number_of_items(counts, task, advice):
    rule = improve if task is IMPROVE else not_regress
    check = only(rule.judge(made_evidence(counts, task=task)))
    assert check.outcome is INCONCLUSIVE
    assert advice in check.help


def test_a_gain_that_is_not_shown_fails_only_where_the_planned_one_is_ruled_out():
    counts = table(4, 3, 9, 4)
    small = made_evidence(counts, task={"must": "improve", "detect": 0.15})
    assert only(improve.judge(small)).outcome is INCONCLUSIVE
    large = made_evidence(counts, task={"must": "improve", "detect": 0.5})
    assert only(improve.judge(large)).outcome is FAIL


def test_min_gain_is_the_bar():
    evidence = made_evidence(table(60, 2, 60, 28), task={**IMPROVE, "min_gain": 0.35})
    assert only(improve.judge(evidence)).outcome is INCONCLUSIVE
    evidence = made_evidence(table(60, 2, 60, 28), task={**IMPROVE, "min_gain": 0.25})
    assert only(improve.judge(evidence)).outcome is PASS


@pytest.mark.parametrize("items", [0, 1, 9])
def test_fewer_than_ten_items_are_no_evidence(items):
    check = only(improve.judge(made_evidence(table(items, 0, 0, 0) if items else {"base": [], "tuned": []})))
    assert check.outcome is INCONCLUSIVE


def test_ten_gains_in_ten_clusters_are_evidence_and_in_nine_are_not():
    assert only(improve.judge(made_evidence(table(20, 0, 0, 0), clusters=[k // 2 for k in range(20)]))).outcome is PASS
    nine = [min(k // 2, 8) for k in range(20)]
    assert only(improve.judge(made_evidence(table(20, 0, 0, 0), clusters=nine))).outcome is INCONCLUSIVE


def test_a_task_that_was_not_scored_is_inconclusive():
    assert only(improve.judge(made_evidence({"base": [1.0] * 20}))).outcome is INCONCLUSIVE
    assert only(improve.judge(made_evidence())).outcome is INCONCLUSIVE


def test_the_tuned_model_pays_for_items_it_failed_on():
    base, tuned = scores_of(20, 80), scores_of(100, 0)
    assert only(improve.judge(made_evidence({"base": base, "tuned": tuned}))).outcome is PASS
    check = only(improve.judge(made_evidence({"base": base, "tuned": tuned[:20] + [None] * 80})))
    assert check.outcome is FAIL
    assert check.measured["candidate_failed"] == 80
    assert "tuned failed on 80" in check.message


def test_a_base_that_fails_on_items_does_not_make_the_candidate_better():
    base, tuned = [None] * 40 + scores_of(30, 30), scores_of(70, 30)
    check = only(improve.judge(made_evidence({"base": base, "tuned": tuned})))
    assert check.outcome is not PASS
    assert check.measured["estimate"] == 0.0
    assert check.measured["baseline_failed"] == 40


def test_a_score_that_is_not_a_number_is_a_failure():
    tuned = [math.nan] * 30 + scores_of(70, 0)
    found = made_evidence({"base": scores_of(70, 30), "tuned": tuned}).compare("t", "base")
    assert found.candidate_failed == 30
    assert found.candidate_mean == 0.7


def test_different_items_are_refused():
    evidence = made_evidence(table(5, 5, 5, 5))
    items = evidence.items.filter(~((pl.col("model") == "base") & (pl.col("position") == 3)))
    with pytest.raises(ManifestError, match="not scored on the same items"):
        type(evidence)(evidence.results, items, evidence.losses, evidence.conditions).compare("t", "base")


# --------------------------------------------------------------------------------------------------- references


def test_beating_the_majority_passes_and_equalling_it_does_not():
    majority = scores_of(70, 30)
    better = made_evidence({"base": majority, "tuned": scores_of(95, 5), "majority": majority})
    check = only(beats_references.judge(better))
    assert (check.name, check.outcome) == ("t:beats-majority", PASS)
    equal = made_evidence({"base": majority, "tuned": majority, "majority": majority})
    assert only(beats_references.judge(equal)).outcome is INCONCLUSIVE
    worse = made_evidence({"base": majority, "tuned": scores_of(40, 60), "majority": majority})
    assert only(beats_references.judge(worse)).outcome is FAIL


def test_bag_of_words_gates_only_where_the_config_says_so():
    scores = {"base": scores_of(50, 50), "tuned": scores_of(80, 20), "majority": scores_of(60, 40)}
    scores["bag_of_words"] = scores_of(95, 5)
    assert [check.name for check in beats_references.judge(made_evidence(scores))] == ["t:beats-majority"]
    both = made_evidence(scores, task={**IMPROVE, "beat": ["majority", "bag_of_words"]})
    assert [(c.name, c.outcome) for c in beats_references.judge(both)] == [
        ("t:beats-majority", PASS),
        ("t:beats-bag-of-words", FAIL),
    ]


def test_a_task_without_labels_has_no_references():
    evidence = made_evidence(table(60, 0, 60, 0), facts={"no_references": "the answers are text"})
    assert only(beats_references.judge(evidence)).outcome is Outcome.NOT_APPLICABLE
    assert only(beats_references.judge(made_evidence(table(60, 0, 60, 0)))).outcome is INCONCLUSIVE


# --------------------------------------------------------------------------------------------------- not regress


@pytest.mark.parametrize(
    ("counts", "outcome"),
    [
        ((3, 3, 300, 94), PASS),  # equal on 400 items
        ((0, 0, 300, 100), PASS),
        ((0, 0, 15, 5), INCONCLUSIVE),  # twenty ties say little
        ((3, 40, 300, 57), FAIL),
        ((10, 14, 50, 26), INCONCLUSIVE),
        ((40, 3, 300, 57), PASS),  # better
    ],
)
def test_not_regress(counts, outcome):
    check = only(not_regress.judge(made_evidence(table(*counts), task=NOT_REGRESS)))
    assert (check.name, check.outcome) == ("t:not-regress", outcome)


def test_a_small_proven_loss_inside_the_margin_passes():
    check = only(not_regress.judge(made_evidence(table(0, 20, 1500, 480), task=NOT_REGRESS)))
    assert check.measured["high"] < 0
    assert check.outcome is PASS


def test_continuous_scores_where_lower_is_better():
    base = [1.0 + k % 7 / 10 for k in range(60)]
    scores = {"base": base, "tuned": [b - 0.2 - k % 3 / 100 for k, b in enumerate(base)]}
    check = only(improve.judge(made_evidence(scores, higher_is_better=False)))
    assert check.outcome is PASS
    assert check.measured["estimate"] == pytest.approx(0.21)
    swapped = {"base": scores["tuned"], "tuned": base}
    assert only(improve.judge(made_evidence(swapped, higher_is_better=False))).outcome is FAIL


def test_continuous_scores_that_tie_are_no_evidence():
    scores = {"base": [0.5] * 40, "tuned": [0.5] * 40}
    assert only(not_regress.judge(made_evidence(scores, task=NOT_REGRESS))).outcome is INCONCLUSIVE


# --------------------------------------------------------------------------------------------------- the whole


@settings(max_examples=60)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60), st.integers(1, 60))
def test_one_more_item_right_never_makes_the_verdict_worse(gained, lost, right, wrong):
    rank = {FAIL: 0, INCONCLUSIVE: 1, PASS: 2}
    before = made_evidence(table(gained, lost, right, wrong))
    after = made_evidence(table(gained + 1, lost, right, wrong - 1))
    assert rank[only(improve.judge(after)).outcome] >= rank[only(improve.judge(before)).outcome]


@settings(max_examples=60)
@given(st.integers(0, 60), st.integers(0, 60), st.integers(0, 60), st.integers(0, 60))
def test_only_an_interval_above_the_bar_passes(gained, lost, right, wrong):
    check = only(improve.judge(made_evidence(table(gained, lost, right, wrong))))
    assert (check.outcome is PASS) == (gained + lost + right + wrong >= 10 and (check.measured["low"] or 0) > 0)


@pytest.mark.parametrize(
    ("low", "high", "outcome"),
    [(0.1, 0.2, PASS), (-0.1, 0.2, INCONCLUSIVE), (-0.2, 0.0, FAIL), (0.0, 0.2, INCONCLUSIVE)],
)
def test_an_end_of_the_interval_decides(low, high, outcome):
    assert decide.above(Interval(0.05, low, high, 50, 50, ""), 0.0) is outcome


def test_each_condition_is_found_and_has_its_place():
    found = modules("evals.gates")
    assert found == [baseline, beats_references, improve, not_regress, overfitting, slices]
    assert len({module.ORDER for module in found}) == len(found)


def test_the_verdict_names_what_failed_and_what_is_unknown():
    majority = scores_of(50, 50)
    evidence = made_evidence({**table(2, 40, 8, 50), "majority": majority})
    verdict = gate.judge(evidence, {"results": "0" * 64})
    assert verdict.outcome is FAIL
    assert [check.name for check in verdict.checks] == [
        "t:improve",
        "t:beats-majority",
        "overfitting:gain-gap",
        "overfitting:heldout",
        "overfitting:drift",
    ]
    assert verdict.summary.startswith("the candidate must not replace its base: t:improve")
    assert [check.outcome for check in verdict.checks[2:]] == [Outcome.NOT_APPLICABLE] * 3
    assert gate.judge(made_evidence(table(5, 2, 8, 5)), {}).outcome is INCONCLUSIVE


def test_a_gate_on_nothing_is_inconclusive():
    evidence = made_evidence(task=NOT_REGRESS)
    verdict = gate.judge(evidence, {})
    assert verdict.outcome is INCONCLUSIVE
    assert "not enough evidence" in verdict.summary


def test_unknown_measurements_and_thresholds_are_refused():
    with pytest.raises(UserError, match="no overfitting measurement is called 'gain_gapp'"):
        list(overfitting.judge(made_evidence(overfitting={"gain_gapp": "default"})))
    with pytest.raises(UserError, match="has no threshold called 'max_gop'"):
        list(overfitting.judge(made_evidence(overfitting={"gain_gap": {"max_gop": 1.0}})))
