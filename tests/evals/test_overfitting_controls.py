"""Controls of the overfitting measurements, and how the gate puts controls, measurements and correction together."""

import dataclasses
import math

import numpy as np
import polars as pl
import pytest
from sklearn.metrics import roc_auc_score

from evals.blind import blind_scores
from evals.controls import artifact, blind_classifier, canaries_trained, splits
from evals.discovery import modules
from evals.gates import overfitting
from evals.measuring import LEAST_P
from evals.overfitting import drift, membership
from evals.overfitting_page import as_html, as_markdown, as_text
from evals.overfitting_story import tell
from schemas.verdict import Outcome
from tests.evals.made_evidence import OFF, made_evidence
from tests.evals.made_tokens import healthy, made_general, made_rows, made_tokens, noise

PASS, FAIL, INCONCLUSIVE = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE
NOT_APPLICABLE = Outcome.NOT_APPLICABLE


def test_rows_of_different_kinds_are_told_apart_without_a_model():
    trained = [f"invoice number {k} is due soon" for k in range(40)]
    held_out = [f"the weather in room r{k} was fine" for k in range(60)]
    scores = blind_scores([*trained, *held_out], [True] * 40 + [False] * 60, list(range(100)), 0)
    control = blind_classifier.judge(made_evidence(tables={"rows": made_rows(scores[:40], scores[40:])}))
    assert control.outcome is INCONCLUSIVE
    assert control.measured["area"]["estimate"] > 0.95
    mixed = [*trained[::2], *held_out[::2]], [*trained[1::2], *held_out[1::2]]
    scores = blind_scores([*mixed[0], *mixed[1]], [True] * 50 + [False] * 50, list(range(100)), 0)
    fair = blind_classifier.judge(made_evidence(tables={"rows": made_rows(scores[:50], scores[50:])}))
    assert fair.outcome is PASS
    assert blind_classifier.judge(made_evidence()).outcome is NOT_APPLICABLE


def test_copies_in_one_cluster_do_not_teach_the_classifier_their_label():
    words = np.random.default_rng(0).integers(0, 30, size=(30, 6))
    texts = [" ".join(f"w{word}" for word in row) for row in words for _ in range(4)]
    clusters, labels = np.repeat(np.arange(30), 4).tolist(), np.repeat(np.arange(30) % 2 == 0, 4).tolist()
    assert roc_auc_score(labels, blind_scores(texts, labels, clusters, 0)) < 0.75
    assert roc_auc_score(labels, blind_scores(texts, labels, list(range(120)), 0)) > 0.95


def test_a_held_out_row_that_was_trained_fails_by_itself():
    copies = {"rows": 2, "of": 150, "shown": [{"test": "b.jsonl:7", "train": "a.jsonl:3"}]}
    check = splits.judge(made_evidence(known={"held_out_rows_trained": copies}))
    assert check.outcome is FAIL
    assert "2 of 150 held-out rows were trained: b.jsonl:7 is a.jsonl:3" in check.message
    near = splits.judge(made_evidence(known={"split_proof": {"pairs": 4, "threshold": 0.5, "imported": True}}))
    assert near.outcome is INCONCLUSIVE
    assert splits.judge(made_evidence(known={"split_proof": None})).outcome is INCONCLUSIVE
    assert splits.judge(made_evidence(known={"held_out_rows_trained": None})).outcome is INCONCLUSIVE
    assert splits.judge(made_evidence()).outcome is PASS


def test_unverified_provenance_is_said():
    known = {"unverified": ["unverified: made elsewhere"], "trained_rows": {"rows": 9, "listed": False}}
    check = splits.judge(made_evidence(known=known))
    assert check.outcome is PASS
    assert "provenance unverified" in check.message
    assert "no list of its rows" in check.message


def test_training_on_a_base_in_four_bits_is_said():
    assert "as training published it" in artifact.judge(made_evidence()).message
    check = artifact.judge(made_evidence(known={"artifact": {"whole": False, "quantization": "4bit"}}))
    assert check.outcome is PASS
    assert "trained on one in 4bit: a copy that ships quantised" in check.message
    assert artifact.judge(made_evidence(known={"artifact": None})).outcome is NOT_APPLICABLE


def test_an_evaluation_without_its_tables_has_no_fair_comparison():
    """Losses alone, as from earlier versions: nobody knows what rows these are."""
    found = {check.name: check for check in overfitting.judge(healthy(tables={}))}
    for name in ("control:base-placebo", "control:blind-classifier", "overfitting:gain-gap", "overfitting:membership"):
        assert found[name].outcome is INCONCLUSIVE
    assert "by itself it would be pass" in found["overfitting:gain-gap"].message
    assert Outcome.PASS not in {found[f"overfitting:{name}"].outcome for name in ("drift", "extraction", "membership")}


def test_without_losses_nothing_that_reads_them_is_judged():
    """An endpoint that gives no log-probabilities; evidence that is there all the same must not be believed."""
    everything = dict.fromkeys(
        (module.__name__.rpartition(".")[2] for module in modules("evals.overfitting")), "default"
    )
    known = {"canaries": {"count": 4, "inserted": {"1": 4, "2": 4, "4": 4}, "epochs": 1, "unproven": []}}
    evidence = healthy(overfitting=everything, known=known)
    results = evidence.results.model_copy(update={"no_losses": "it gives no log-probabilities"})
    found = {c.name: c for c in overfitting.judge(dataclasses.replace(evidence, results=results))}
    for name in ("gain-gap", "heldout", "drift", "extraction", "membership", "canaries", "perturbation"):
        assert found[f"overfitting:{name}"].outcome is INCONCLUSIVE
        assert "it gives no log-probabilities" in found[f"overfitting:{name}"].message
        assert "backend" in found[f"overfitting:{name}"].help


@pytest.mark.parametrize("model", ["base", "tuned"])
@pytest.mark.parametrize("rows", ["train3", "train"])
def test_a_model_that_gives_no_numbers_never_passes(model, rows):
    """Logits that are not numbers on one trained row, and on all."""
    failed = (pl.col("model") == model) & pl.col("row_id").str.starts_with(rows)
    whole = healthy(overfitting={"perturbation": "default"})
    changed = whole.tokens.with_columns(variant=pl.lit("case"))
    tokens = pl.concat([whole.tokens, changed])
    broken = tokens.with_columns(nll=pl.when(failed).then(None).otherwise("nll"))
    nothing = [
        pl.when(pl.col("nll").is_null()).then([]).otherwise(name).alias(name) for name in ("log_p", "z", "greedy")
    ]
    losses = whole.losses.with_columns(nll=pl.when(failed).then(None).otherwise("nll"))
    evidence = dataclasses.replace(whole, tokens=broken.with_columns(*nothing), losses=losses)
    found = {check.name: check for check in overfitting.judge(evidence)}
    for name in ("gain-gap", "membership", "perturbation"):
        assert found[f"overfitting:{name}"].outcome is INCONCLUSIVE
    assert "no loss" in found["overfitting:membership"].message + found["overfitting:gain-gap"].message


def test_models_that_fail_on_different_rows_are_not_compared():
    whole = healthy()
    failed = ((pl.col("model") == "base") & (pl.col("row_id") == "train3")) | (
        (pl.col("model") == "tuned") & (pl.col("row_id") == "train4")
    )
    broken = whole.tokens.with_columns(nll=pl.when(failed).then(None).otherwise("nll"))
    check = membership.judge(dataclasses.replace(whole, tokens=broken), membership.DEFAULTS)
    assert check.outcome is INCONCLUSIVE
    assert "some trained rows have no loss" in check.message


def test_a_backend_that_gives_sums_alone_shows_no_single_tokens():
    pairs = [(model, split) for model in ("base", "tuned") for split in ("train", "test")]
    by_heart = {("tuned", "train"): 2.0}
    tokens = made_tokens(
        {pair: noise(k, 100, shift=by_heart.get(pair, 0.0), length=40) for k, pair in enumerate(pairs)}
    )
    bare = [pl.lit([], dtype=tokens.schema[name]).alias(name) for name in ("log_p", "z", "greedy")]
    evidence = dataclasses.replace(healthy(), tokens=tokens.with_columns(bare))
    found = {check.name: check for check in overfitting.judge(evidence)}
    assert found["overfitting:membership"].outcome is INCONCLUSIVE
    assert "no scores of tokens" in found["overfitting:membership"].message
    assert found["overfitting:extraction"].outcome is INCONCLUSIVE
    assert found["control:base-placebo"].measured["areas"].keys() == {"loss"}
    story = tell(evidence, list(found.values()), "")
    assert story is not None
    assert "first choice" not in as_text(story)
    assert as_markdown(story).count("rows.jsonl") == as_html(story, "n").count("rows.jsonl") == len(story.rows) > 0


def test_a_canary_without_loss_is_named():
    facts = {"count": 2, "inserted": {"1": 2, "2": 2, "4": 2}, "epochs": 1, "unproven": ["canary-2-1"]}
    check = canaries_trained.judge(made_evidence(known={"canaries": facts}))
    assert check.outcome is INCONCLUSIVE
    assert "1 of 6 canaries" in check.message
    assert "canary-2-1" in check.message
    assert canaries_trained.judge(made_evidence(known={"canaries": {**facts, "unproven": []}})).outcome is PASS


# ------------------------------------------------------------------------------------------- the gate as a whole


def outcomes(evidence):
    return {check.name: check.outcome for check in overfitting.judge(evidence)}


def test_the_mandatory_measurements_are_always_judged_and_a_healthy_model_passes():
    assert outcomes(healthy()) == {
        "control:artifact": PASS,
        "control:base-placebo": PASS,
        "control:blind-classifier": PASS,
        "control:splits": PASS,
        "overfitting:gain-gap": PASS,
        "overfitting:heldout": PASS,
        "overfitting:drift": PASS,
        "overfitting:extraction": NOT_APPLICABLE,
        "overfitting:membership": PASS,
        "overfitting:validation-curve": NOT_APPLICABLE,
    }


def test_a_mandatory_measurement_that_is_off_is_told_and_another_is_not():
    found = outcomes(healthy(overfitting=OFF))
    assert found == dict.fromkeys(("overfitting:gain-gap", "overfitting:heldout", "overfitting:drift"), NOT_APPLICABLE)


def test_what_rests_on_a_failed_control_is_inconclusive_and_a_leak_fails():
    copies = {"rows": 2, "of": 150, "shown": [{"test": "b.jsonl:7", "train": "a.jsonl:3"}]}
    found = {check.name: check for check in overfitting.judge(healthy(known={"held_out_rows_trained": copies}))}
    assert found["control:splits"].outcome is FAIL
    assert found["overfitting:gain-gap"].outcome is INCONCLUSIVE
    assert "control:splits did not pass; by itself it would be pass" in found["overfitting:gain-gap"].message
    assert found["overfitting:drift"].outcome is PASS


def test_a_measurement_must_fail_after_correction_for_the_others():
    strong = healthy(
        tables={
            **{"tokens": healthy().tokens, "rows": healthy().rows},
            "general": made_general([0.5] * 20 + [0.6] * 20),
        }
    )
    found = {check.name: check for check in overfitting.judge(strong)}
    assert found["overfitting:drift"].outcome is FAIL
    assert found["overfitting:drift"].measured["p_holm"] == pytest.approx(4 * LEAST_P, abs=1e-6)
    spread = np.random.default_rng(0).normal(scale=0.05, size=40)
    spread = 0.25 + 0.05 * ((spread - spread.mean()) / spread.std() + 2.2 / math.sqrt(40))  # 2.2 standard errors above
    weak = healthy(
        tables={**{"tokens": healthy().tokens, "rows": healthy().rows}, "general": made_general(spread.tolist())}
    )
    assert drift.judge(weak, drift.DEFAULTS).outcome is FAIL
    check = {check.name: check for check in overfitting.judge(weak)}["overfitting:drift"]
    assert check.outcome is INCONCLUSIVE
    assert 0.05 < check.measured["p_holm"] < 0.2
    assert "of so many measurements one does by chance" in check.message
