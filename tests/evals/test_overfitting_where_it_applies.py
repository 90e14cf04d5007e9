"""Measurements that need something beside rows: canaries, contaminated items, generated answers."""

import dataclasses
import json
import math

import numpy as np
import polars as pl
import pytest

from evals.gates import overfitting
from evals.overfitting import answer_form, canaries, contaminated_gap
from evals.row_facts import ReadRows, row_facts
from evals.run import dataset_of, evaluate
from schemas.progress import Progress
from schemas.verdict import Outcome
from tests.evals.made_evidence import OFF, made_evidence, scores_of
from tests.evals.made_tokens import Rows, made_tokens
from tests.evals.test_methods import trained

PASS, FAIL, INCONCLUSIVE = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE
INSERTED = {"count": 16, "inserted": {"1": 16, "2": 16, "4": 16}, "epochs": 1, "unproven": []}


# ------------------------------------------------------------------------------------------------------ canaries


def canary_check(gains, count=16, seed=0, **more):
    """Canaries whose z rises by so much with each dose; all are alike under the base model."""
    draw = np.random.default_rng(seed)
    rows: dict[tuple[str, str], Rows] = {
        (model, f"canary_{dose}"): [
            ((draw.normal(size=8) + (gain if model == "tuned" else 0.0)).tolist(), [False] * 8) for _ in range(count)
        ]
        for model in ("base", "tuned")
        for dose, gain in zip((0, 1, 2, 4), gains, strict=True)
    }
    evidence = made_evidence(tables={"tokens": made_tokens(rows)}, known={"canaries": INSERTED | more})
    return canaries.judge(evidence, canaries.DEFAULTS)


def test_secrets_that_are_known_fail_and_those_that_are_not_pass():
    check = canary_check((0.0, 3.0, 4.0, 5.0))
    assert check.outcome is FAIL
    assert check.measured["inserted_1"]["area"]["estimate"] == 1.0
    assert check.measured["inserted_1"]["exposure"] == pytest.approx(math.log2(17))
    assert check.measured["inserted_1"]["p_exact"] < 1e-6
    healthy = canary_check((0.0, 0.0, 0.0, 3.0), count=40)
    assert healthy.outcome is PASS
    assert healthy.measured["inserted_4"]["area"]["estimate"] > 0.95
    assert canary_check((0.0, 0.6, 0.6, 0.6), count=8).outcome is INCONCLUSIVE


def test_exposure_is_that_of_the_secret_sharer():
    controls = np.array([1.0, 2.0, 3.0])
    found = canaries.exposures(np.array([9.0, 2.5, 0.0, 3.0]), controls)
    assert found.tolist() == pytest.approx([2.0, 1.0, 0.0, 1.0])  # ranks 1, 2, 4, and 2 for the tie


def test_few_canaries_show_nothing():
    check = canary_check((0.0, 9.0, 9.0, 9.0), count=3)
    assert check.outcome is INCONCLUSIVE
    assert "raise train.canaries" in check.help


def test_a_canary_on_which_a_model_failed_is_not_left_out():
    rows: dict[tuple[str, str], Rows] = {
        (m, f"canary_{dose}"): [([0.1 * k], [False]) for k in range(8)] for m in ("base", "tuned") for dose in (0, 1)
    }
    tokens = (
        made_tokens(rows).with_row_index().with_columns(nll=pl.when(pl.col("index") == 20).then(None).otherwise("nll"))
    )
    check = canaries.judge(made_evidence(tables={"tokens": tokens.drop("index")}), canaries.DEFAULTS)
    assert check.outcome is INCONCLUSIVE
    assert "1 canaries have no loss" in check.message


def test_canaries_are_measured_and_proven_by_the_run_that_trained_them(tmp_path, tiny_model_folder):
    project, made = trained(tmp_path, tiny_model_folder, "sft", canaries=4)
    ledger = json.loads((made.folder / "ledger.json").read_bytes())
    assert len(ledger["canary_rows"]) == 12
    assert ledger["canary_rows"]["canary-4-0"]["copies"] == 4
    assert ledger["canary_rows"]["canary-1-3"]["supervised_tokens"] > 12
    dataset = dataset_of(made.path).parent
    facts = row_facts(ReadRows(dataset, made.folder))["canaries"]
    assert facts == {"count": 4, "inserted": {"1": 4, "2": 4, "4": 4}, "epochs": 1, "unproven": []}
    result = evaluate(project, made.path, Progress(quiet=True))
    tokens = pl.read_parquet(result.folder / "tokens.parquet")
    counted = tokens.filter(pl.col("model") == "tuned").group_by("split").len().sort("split").rows()
    assert counted == [(f"canary_{dose}", 4) for dose in (0, 1, 2, 4)] + [("test", 12), ("train", 12)]
    ledger["canary_rows"]["canary-2-1"] |= {"truncated_tokens": 3}
    del ledger["canary_rows"]["canary-1-0"]
    (made.folder / "ledger.json").write_text(json.dumps(ledger), "utf-8")
    assert row_facts(ReadRows(dataset, made.folder))["canaries"]["unproven"] == ["canary-1-0", "canary-2-1"]


# -------------------------------------------------------------------------------------------- contaminated items


def contaminated(gained_seen, gained_clean, grade="question"):
    """20 contaminated items and 60 clean ones; so many of each the candidate got right and the base wrong."""
    tuned = scores_of(gained_seen, 20 - gained_seen) + scores_of(gained_clean, 60 - gained_clean)
    marks = {"items": [{"item_id": f"item{k}", "grade": grade} for k in range(20)]}
    return made_evidence({"base": [0.0] * 80, "tuned": tuned}, facts={"contamination": marks})


def test_a_gain_on_contaminated_items_alone_fails():
    check = contaminated_gap.judge(contaminated(20, 0), contaminated_gap.DEFAULTS)
    assert check.outcome is FAIL
    assert check.measured["gap"]["estimate"] == 1.0
    assert contaminated_gap.judge(contaminated(18, 12), contaminated_gap.DEFAULTS).outcome is FAIL
    assert contaminated_gap.judge(contaminated(10, 30), contaminated_gap.DEFAULTS).outcome is INCONCLUSIVE
    assert contaminated_gap.judge(contaminated(1, 55), contaminated_gap.DEFAULTS).outcome is PASS
    nothing = contaminated_gap.judge(contaminated(0, 0), contaminated_gap.DEFAULTS)
    assert nothing.outcome is INCONCLUSIVE  # 20 items without a gain do not show one below 0.1
    assert nothing.measured["gap"]["high"] > 0.1


def test_without_enough_items_of_either_kind_there_is_no_gap():
    assert contaminated_gap.applies(contaminated(20, 0)) == ""
    assert contaminated_gap.applies(contaminated(20, 0, grade="answer")) != ""  # an answer alone gates nothing
    assert contaminated_gap.applies(made_evidence({"base": [0.0] * 80, "tuned": [1.0] * 80})) != ""


# ---------------------------------------------------------------------------------------------- generated answers


def form_check(base, tuned, target="one two three four", kind="generate_until"):
    zeros = [0.0] * len(tuned)
    evidence = made_evidence({"base": zeros, "tuned": zeros}, facts={"output_type": kind})
    items = evidence.items.with_columns(prediction=pl.Series([*base, *tuned]), target=pl.lit(target))
    evidence = dataclasses.replace(evidence, items=items)
    return answer_form.applies(evidence) or answer_form.judge(evidence, answer_form.DEFAULTS)


def test_answers_as_long_as_expected_pass_and_endless_ones_fail():
    good, endless, long = ["a b c d"] * 100, ["word " * 200] * 100, ["a b c d e f g"] * 100
    assert form_check(endless, good).outcome is PASS
    assert form_check(endless[:40], good[:40]).outcome is INCONCLUSIVE  # 40 answers do not show a share below 0.05
    check = form_check(good, endless)
    assert check.outcome is FAIL
    assert check.measured["ratio"]["tuned"] == pytest.approx(201 / 5)
    assert form_check(good, long).outcome is PASS  # 1.6 times is within bounds
    assert form_check(endless, ["word " * 100] * 100).outcome is PASS  # nearer to what is expected than the base


def test_empty_answers_fail():
    assert form_check(["a b c d"] * 100, [""] * 100).outcome is FAIL


def test_refusals_that_nobody_expected_fail():
    refusal = "I'm sorry, but I cannot assist with that request."
    good = ["a b c d e f g h i"] * 100
    assert form_check(good, [refusal] * 100, target="a b c d e f g h i").outcome is FAIL
    assert form_check(good, [refusal] * 100, target=refusal).outcome is PASS
    assert form_check(good, [refusal] * 6 + good[6:], target="a b c d e f g h i").outcome is INCONCLUSIVE


def test_choices_have_no_form():
    assert "no suite lets" in form_check(["yes"] * 100, ["no"] * 100, kind="multiple_choice")
    assert "no suite lets" in form_check(["yes"] * 5, ["no"] * 5)


def test_what_does_not_apply_is_told_only_where_it_was_asked_for():
    names = {check.name for check in overfitting.judge(made_evidence(overfitting={**OFF, "canaries": "default"}))}
    assert "overfitting:canaries" in names
    assert "overfitting:answer-form" not in names
