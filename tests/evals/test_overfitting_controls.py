"""Controls of the overfitting measurements, and how the gate puts controls, measurements and correction together."""

import math

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from evals.blind import blind_scores
from evals.controls import blind_classifier, canaries_trained, splits
from evals.gates import overfitting
from evals.measuring import LEAST_P
from evals.overfitting import drift
from schemas.verdict import Outcome
from tests.evals.made_evidence import OFF, made_evidence
from tests.evals.made_tokens import healthy, made_general, made_rows

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
