"""Each measurement on made evidence: what passes, what fails, what is not known, what does not apply."""

import math

import numpy as np
import polars as pl
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from evals.controls import base_placebo
from evals.measuring import LEAST_P, p_above
from evals.overfitting import drift, extraction, heldout, membership, validation_curve
from evals.ranks import Sample, area, area_ends, rate_at, rate_excess_ends
from evals.stats import clopper_pearson
from schemas.verdict import Outcome
from tests.evals.made_evidence import made_evidence, table
from tests.evals.made_tokens import made_general, made_tokens, noise

PASS, FAIL, INCONCLUSIVE = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE
NOT_APPLICABLE = Outcome.NOT_APPLICABLE


def draws(mean, count=150, seed=0):
    return np.random.default_rng(seed).gamma(4.0, mean / 4, size=count).tolist()


# ---------------------------------------------------------------------------------------------------------- p


def test_p_is_where_the_interval_leaves_the_bound():
    def interval(alpha):
        reach = -math.log(alpha / 2)  # one-sided p of an effect of 5 above 0 is exp(-5)
        return 5.0, 5.0 - reach, 5.0 + reach

    assert p_above(interval, 0.0) == pytest.approx(math.exp(-5), rel=0.01)
    assert p_above(interval, 2.0) == pytest.approx(math.exp(-3), rel=0.01)
    assert p_above(interval, 6.0) == 1.0
    assert p_above(lambda alpha: (9.0, 8.0, 10.0), 0.0) == LEAST_P


# ------------------------------------------------------------------------------------------------------ held-out


def heldout_check(base, tuned, **more):
    losses = {("base", "train"): base, ("tuned", "train"): tuned, ("base", "test"): base, ("tuned", "test"): tuned}
    return heldout.judge(made_evidence(losses=losses, **more), heldout.DEFAULTS)


def test_new_rows_that_became_cheaper_pass():
    check = heldout_check(draws(20.0), draws(4.0, seed=1))
    assert (check.name, check.outcome) == ("overfitting:heldout", PASS)
    assert check.measured["rise"]["estimate"] == pytest.approx(-0.8, abs=0.05)
    assert "p" not in check.measured


def test_new_rows_that_became_dearer_fail():
    base = draws(20.0)
    check = heldout_check(base, [1.2 * loss for loss in base])
    assert check.outcome is FAIL
    assert check.measured["rise"]["estimate"] == pytest.approx(0.2, abs=1e-6)
    assert check.measured["p"] <= 0.001
    assert heldout_check(base, base).outcome is PASS
    unsure = np.array(base) + np.random.default_rng(3).normal(size=150) * 4
    assert heldout_check(base, unsure.tolist()).outcome is INCONCLUSIVE


def test_a_score_on_test_rows_that_fell_fails():
    base = draws(20.0)
    check = heldout_check(base, draws(4.0), scores=table(0, 40, 100, 10), facts={"split": "test"})
    assert check.outcome is FAIL
    assert "t fell by 0.267" in check.message
    assert heldout_check(base, draws(4.0), scores=table(0, 40, 100, 10)).outcome is PASS  # items of another origin


def test_test_rows_that_are_few_or_have_no_loss_say_nothing():
    assert heldout_check(draws(20.0, 9), draws(4.0, 9)).outcome is INCONCLUSIVE
    broken = heldout_check([math.nan, *draws(20.0, 30)], [1.0, *draws(4.0, 30)])
    assert broken.outcome is INCONCLUSIVE
    assert "1 rows have no loss" in broken.message


# --------------------------------------------------------------------------------------------------------- drift


def drift_check(rises):
    return drift.judge(made_evidence(tables={"general": made_general(rises)}), drift.DEFAULTS)


def test_drift_is_judged_by_the_change_of_bits_a_byte():
    spread = np.random.default_rng(0).normal(scale=0.02, size=40)
    assert drift_check((0.01 + spread).tolist()).outcome is PASS
    check = drift_check((0.4 + spread).tolist())
    assert check.outcome is FAIL
    assert check.measured["rise"]["estimate"] == pytest.approx(0.4, abs=0.01)
    assert check.measured["bits_per_byte"]["base"] == pytest.approx((200 + 19.5) / 400 / math.log(2), rel=1e-4)
    assert check.measured["kl_per_token"]["estimate"] == pytest.approx(0.4, abs=0.01)
    assert drift_check((0.25 + 10 * spread).tolist()).outcome is INCONCLUSIVE


def test_drift_without_text_or_with_a_failing_model_is_not_known():
    assert drift_check([]).outcome is INCONCLUSIVE
    assert drift_check([0.0] * 9).outcome is INCONCLUSIVE
    broken = made_general([0.0] * 40).with_columns(
        tuned=pl.when(pl.col("document") == "d3").then(None).otherwise("tuned")
    )
    check = drift.judge(made_evidence(tables={"general": broken}), drift.DEFAULTS)
    assert check.outcome is INCONCLUSIVE
    assert "failed on 1 documents" in check.message


# ---------------------------------------------------------------------------------------------------- membership


def test_the_area_is_that_of_scikit_learn_and_its_interval_covers():
    draw = np.random.default_rng(0)
    first, second = draw.normal(size=80).round(1) + 0.5, draw.normal(size=120).round(1)
    found = area(Sample(first, np.arange(80)), Sample(second, np.arange(120)))
    expected = roc_auc_score([1] * 80 + [0] * 120, [*first, *second])
    assert found.estimate == pytest.approx(expected)
    covered = 0
    for _ in range(300):
        trained, held_out = draw.normal(size=60), draw.normal(size=90)
        _, low, high = area(Sample(trained, np.arange(60)), Sample(held_out, np.arange(90))).interval(0.05)
        covered += low <= 0.5 <= high
    assert 0.92 <= covered / 300 <= 0.985


def test_rows_of_one_cluster_do_not_make_an_interval_narrower():
    draw = np.random.default_rng(0)
    first, second = draw.normal(size=40), draw.normal(size=60)
    once = area(Sample(first, np.arange(40)), Sample(second, np.arange(60))).interval(0.05)
    copies = [Sample(np.repeat(one, 3), np.repeat(np.arange(len(one)), 3)) for one in (first, second)]
    thrice = area(*copies).interval(0.05)
    assert thrice == pytest.approx(once, abs=1e-9)


def test_the_rate_at_few_false_alarms():
    trained = Sample(np.array([5.0, 1.0, 9.0]), np.arange(3))
    assert rate_at(trained, Sample(np.arange(100) / 20, np.arange(100)), 0.01) == pytest.approx(2 / 3)
    assert rate_at(trained, Sample(np.zeros(99), np.arange(99)), 0.01) is None
    assert rate_at(trained, Sample(np.zeros(500), np.arange(500) // 6), 0.01) is None  # 84 clusters
    held_out = Sample(np.arange(300) / 60, np.arange(300))
    assert rate_at(Sample(held_out.scores, held_out.clusters), held_out, 0.01) == pytest.approx(0.01)


def test_the_excess_of_a_rate_has_an_interval_that_covers():
    draw, covered = np.random.default_rng(0), 0
    clusters = [np.arange(100), np.arange(300)]
    truth = float(norm.sf(norm.isf(0.01) - 1.0)) - 0.01
    for _ in range(60):
        ours, theirs = (
            (Sample(draw.normal(size=100) + more, clusters[0]), Sample(draw.normal(size=300), clusters[1]))
            for more in (1.0, 0.0)
        )
        low, high = rate_excess_ends(ours, theirs, 0.01, 0.05, 0)
        covered += low <= truth <= high
    assert covered >= 50


def test_an_area_of_one_is_not_certain():
    _, low, high = area_ends(1.0, (4, 4), 0.05)
    assert (low < 0.5, high) == (True, 1.0)
    assert area_ends(1.0, (16, 16), 0.05)[1] > 0.75
    assert area_ends(0.0, (16, 16), 0.05)[2] == pytest.approx(1 - area_ends(1.0, (16, 16), 0.05)[1])
    draw, covered = np.random.default_rng(0), 0
    for _ in range(400):
        pair = [Sample(draw.normal(size=12) + more, np.arange(12)) for more in (1.4, 0.0)]
        _, low, high = area_ends(area(*pair).estimate, (12, 12), 0.05)
        covered += low <= norm.cdf(1.4 / math.sqrt(2)) <= high
    assert covered >= 0.93 * 400


def membership_check(**shift):
    rows = {
        (model, split): noise(k, 100 if split == "train" else 150, shift=shift.get(f"{model}_{split}", 0.0))
        for k, (model, split) in enumerate((m, s) for m in ("base", "tuned") for s in ("train", "test"))
    }
    return membership.judge(made_evidence(tables={"tokens": made_tokens(rows)}), membership.DEFAULTS)


def test_a_model_that_knows_its_rows_fails_and_one_that_does_not_passes():
    assert membership_check(tuned_train=0.05, tuned_test=0.0).outcome is PASS
    check = membership_check(tuned_train=1.5)
    assert check.outcome is FAIL
    assert check.measured["loss"]["excess"]["low"] > 0.3
    assert check.measured["min_k"]["area"]["tuned"] > 0.9
    assert check.measured["calibrated_loss_area"]["estimate"] > 0.9
    assert check.measured["loss"]["found_at_one_false_alarm_in_100"]["tuned"] > 0.5
    assert check.measured["loss"]["found_at_one_false_alarm_in_100"]["excess"]["low"] > 0.2


def test_rows_that_the_base_tells_apart_as_well_are_no_memory():
    assert membership_check(base_train=1.0, tuned_train=1.0).outcome is PASS
    evidence = made_evidence(
        tables={"tokens": made_tokens({("base", "train"): noise(0, 100, shift=1.0), ("base", "test"): noise(1, 100)})}
    )
    control = base_placebo.judge(evidence)
    assert control.outcome is INCONCLUSIVE
    assert "membership" in control.measured["undermines"]


def test_membership_of_few_or_failing_rows_is_not_known():
    few = {(m, s): noise(0, 9) for m in ("base", "tuned") for s in ("train", "test")}
    check = membership.judge(made_evidence(tables={"tokens": made_tokens(few)}), membership.DEFAULTS)
    assert check.outcome is INCONCLUSIVE
    assert "9 independent trained rows" in check.message
    rows = {(m, s): noise(0, 40) for m in ("base", "tuned") for s in ("train", "test")}
    tokens = (
        made_tokens(rows).with_row_index().with_columns(nll=pl.when(pl.col("index") == 50).then(None).otherwise("nll"))
    )
    check = membership.judge(made_evidence(tables={"tokens": tokens.drop("index")}), membership.DEFAULTS)
    assert check.outcome is INCONCLUSIVE
    assert "no loss" in check.message
    assert "kept no scores" in membership.judge(made_evidence(), membership.DEFAULTS).message


# ---------------------------------------------------------------------------------------------------- extraction


def recited(count, hits, *, length=40, wrong=0):
    """Rows of which the first `hits` are the model's most likely ones, but for `wrong` tokens at the end."""
    return [([0.0] * length, [k < hits] * (length - wrong) + [False] * wrong) for k in range(count)]


def extraction_check(train, test, base=0, count=100, **more):
    rows = {
        ("base", "train"): recited(count, base),
        ("tuned", "train"): recited(count, train, **more),
        ("base", "test"): recited(150, 0),
        ("tuned", "test"): recited(150, test),
    }
    evidence = made_evidence(tables={"tokens": made_tokens(rows)})
    assert extraction.applies(evidence) == ""
    return extraction.judge(evidence, extraction.DEFAULTS)


def test_a_model_that_recites_fails_and_one_that_does_not_passes():
    check = extraction_check(30, 0)
    assert check.outcome is FAIL
    assert check.measured["hits"]["verbatim"] == {"train": 30, "test": 0}
    assert check.measured["recited"][0] == "train0"
    assert len(check.measured["recited"]) == 30
    assert extraction_check(0, 0).outcome is PASS


def test_answers_that_follow_from_their_prompt_are_not_recited():
    assert extraction_check(60, 90).outcome is INCONCLUSIVE  # 0.6 of both: such wide intervals exclude nothing
    assert extraction_check(60, 140).outcome is PASS


def test_nearly_reciting_fails_too():
    check = extraction_check(30, 0, wrong=2)
    assert check.measured["hits"] == {"verbatim": {"train": 0, "test": 0}, "near_verbatim": {"train": 30, "test": 0}}
    assert check.outcome is FAIL


def test_what_the_base_model_knows_is_no_probe():
    check = extraction_check(30, 0, base=30)
    assert check.measured["probes"] == {"train": 70, "test": 150}
    assert check.outcome is INCONCLUSIVE  # 72 probes are needed


def test_the_number_of_probes_that_a_claim_needs():
    assert extraction.probes_needed(0.05, 0.05) == 72
    assert extraction.probes_needed(0.01, 0.05) == 368
    needed = extraction.probes_needed(0.05, 0.05)
    assert clopper_pearson(0, needed, 0.05)[1] <= 0.05 < clopper_pearson(0, needed - 1, 0.05)[1]
    check = extraction_check(0, 0, count=71)
    assert check.outcome is INCONCLUSIVE
    assert "72 trained answers" in check.help


def test_templated_answers_and_copies_are_left_out():
    rows = {(m, s): recited(100, 100 if m == "tuned" else 0) for m in ("base", "tuned") for s in ("train", "test")}
    same = {("train", k): list(range(40)) for k in range(20)}
    tokens = made_tokens(rows, ids=same)
    probes = extraction.find_probes(tokens)
    assert sum(probe.split == "train" for probe in probes) == 80
    one_cluster = tokens.with_columns(cluster=pl.when(pl.col("split") == "train").then(7).otherwise("cluster"))
    assert sum(probe.split == "train" for probe in extraction.find_probes(one_cluster)) == 1
    copied = tokens.with_columns(cluster=pl.when(pl.col("ids").list.first() == 0).then(7).otherwise("cluster"))
    assert (
        sum(probe.split == "train" for probe in extraction.find_probes(copied)) == 81
    )  # what is in one cluster counts


def test_short_answers_cannot_be_recited():
    rows = {(m, s): recited(100, 0, length=5) for m in ("base", "tuned") for s in ("train", "test")}
    evidence = made_evidence(tables={"tokens": made_tokens(rows)})
    assert "too little to recite: 0 trained answers have 32 tokens" in extraction.applies(evidence)


def test_greedy_tokens_decide_what_generation_would_give(tiny_model_folder):
    """A continuation whose every token is the most likely one after the true beginning is what generate gives."""
    import torch
    from transformers import AutoModelForCausalLM

    from evals.packing import Query
    from evals.token_scores import TokenScorer

    model = AutoModelForCausalLM.from_pretrained(tiny_model_folder, dtype=torch.float32).eval()
    prompt = torch.tensor([[5, 9, 30, 31, 40]])
    made = model.generate(prompt, max_new_tokens=12, min_new_tokens=12, do_sample=False, pad_token_id=2)[0, 5:].tolist()
    changed = [*made[:6], (made[6] + 1) % 259, *made[7:]]
    scorer = TokenScorer(model, 4, 512)
    found = scorer.score([Query(tuple(prompt[0].tolist()), tuple(ids), each=True) for ids in (made, changed)])
    assert all(token.is_greedy for token in found[0].each)
    assert [token.is_greedy for token in found[1].each][:7] == [True] * 6 + [False]


# ---------------------------------------------------------------------------------------------- validation curve


def curve_check(points, published, rows=None, **more):
    curve = {"method": "sft", "published_step": published, "points": points, "rows": rows or [], **more}
    evidence = made_evidence(known={"validation_curve": curve})
    reason = validation_curve.applies(evidence)
    return reason or validation_curve.judge(evidence, validation_curve.DEFAULTS)


def test_the_best_step_passes_and_a_later_one_does_not():
    points = [[0, 3.0], [10, 1.0], [20, 1.5]]
    assert curve_check(points, 10).outcome is PASS
    check = curve_check(points, 20)
    assert check.outcome is INCONCLUSIVE  # means alone have no interval
    assert check.measured["excess"]["estimate"] == 0.5
    assert curve_check([[0, 3.0], [10, 1.0], [20, 1.02]], 20).outcome is INCONCLUSIVE


def test_with_the_loss_of_each_row_the_excess_has_an_interval():
    draw = np.random.default_rng(0)
    least = draw.gamma(4, 0.25, size=16)
    points = [[10, float(least.mean())], [20, float(least.mean()) * 1.5]]
    rows = [[10, least.tolist()], [20, (least * 1.5).tolist()]]
    assert curve_check(points, 20, rows).outcome is FAIL
    chance = [*points[:1], *([k, points[0][1] * 1.4] for k in range(30, 130, 10)), points[1]]
    z = draw.normal(size=16)
    z = (z - z.mean()) / z.std(ddof=1) + 2.7 / math.sqrt(16)  # 2.7 standard errors above the bound
    rows[1][1] = (least + 0.05 * least.mean() + 0.4 * z).tolist()
    assert curve_check(points, 20, rows).outcome is FAIL
    assert curve_check(chance, 20, rows).outcome is INCONCLUSIVE  # the least of twelve
    moved = draw.normal(size=16)
    rows[1][1] = (least * 1.5 + 2 * (moved - moved.mean())).tolist()
    assert curve_check(points, 20, rows).outcome is INCONCLUSIVE


def test_a_run_without_a_curve_is_not_judged_by_it():
    assert "no validation loss" in validation_curve.applies(made_evidence())
    assert "reward" in curve_check([[0, 1.0]], 0, method="grpo")
    assert "at the published step" in curve_check([[0, 1.0]], 5)
