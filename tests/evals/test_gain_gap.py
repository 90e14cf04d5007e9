import numpy as np
import pytest

from evals.gates import overfitting
from evals.overfitting import heldout
from evals.overfitting.gain_gap import DEFAULTS, explained_slope, judge, paired
from schemas.verdict import Outcome
from tests.evals.made_evidence import OFF, made_evidence
from tests.evals.made_tokens import healthy

RNG = np.random.default_rng(0)


def losses(train: float, test: float, *, base: float = 20.0, rows: tuple[int, int] = (100, 150), follows: float = 0.0):
    """Losses of a made model: gamma noise around the means; `follows` of the base's spread is the tuned model's too."""
    found = {}
    for split, mean, count in (("train", train, rows[0]), ("test", test, rows[1])):
        easy = RNG.normal(scale=3.0, size=count)
        found["base", split] = (base + easy).tolist()
        found["tuned", split] = (RNG.gamma(1.0, max(mean, 1e-6), size=count) + follows * easy + 10 * follows).tolist()
    return found


def check_of(values, **thresholds):
    return judge(made_evidence(losses=values), {**DEFAULTS, **thresholds})


def test_a_model_that_learned_the_task_passes():
    check = check_of(losses(0.30, 0.33))
    assert (check.name, check.outcome) == ("overfitting:gain-gap", Outcome.PASS)
    assert check.measured["train_rows"] == 100
    assert check.measured["loss_per_answer"]["tuned"]["test"] == pytest.approx(0.33, abs=0.1)
    assert check.measured["loss"]["tuned"]["test"] == pytest.approx(
        check.measured["loss_per_answer"]["tuned"]["test"] / 2, abs=1e-5
    )


def test_a_model_that_learned_its_rows_fails():
    check = check_of(losses(0.001, 1.0, rows=(36, 100)))
    assert check.outcome is Outcome.FAIL
    assert check.measured["share"]["low"] > 0.9
    assert "knows about its own rows" in check.message
    assert check.help != ""


def test_long_answers_with_a_gap_that_is_small_beside_their_loss_pass():
    check = check_of(losses(100.0, 110.0, base=150.0, rows=(300, 300)))
    assert check.measured["gap"]["estimate"] > DEFAULTS["max_gap"]
    assert check.outcome is Outcome.PASS


def test_a_gap_too_small_to_matter_passes_whatever_its_share():
    check = check_of(losses(0.001, 0.05))
    assert check.measured["share"]["low"] > DEFAULTS["max_share"]
    assert check.outcome is Outcome.PASS


def test_a_model_that_is_worse_than_its_base_on_new_rows_fails():
    evidence = made_evidence(losses=losses(15.0, 40.0))
    check = heldout.judge(evidence, heldout.DEFAULTS)
    assert check.outcome is Outcome.FAIL
    assert check.measured["rise"]["low"] > 0.5
    assert "worse at its own task" in check.message
    assert judge(evidence, DEFAULTS).measured["test_gain"]["high"] < 0


def test_few_rows_are_inconclusive():
    check = check_of(losses(0.001, 1.0, rows=(9, 100)))
    assert check.outcome is Outcome.INCONCLUSIVE
    assert "9 independent trained rows" in check.message
    assert check_of(losses(0.2, 0.6, rows=(12, 12))).outcome is Outcome.INCONCLUSIVE
    assert check_of({}).outcome is Outcome.INCONCLUSIVE


def test_a_row_without_a_loss_is_inconclusive():
    values = losses(0.3, 0.33)
    values["tuned", "test"][0] = None
    check = check_of(values)
    assert check.outcome is Outcome.INCONCLUSIVE
    assert "1 rows have no loss" in check.message
    values["tuned", "test"][0] = float("nan")
    assert check_of(values).outcome is Outcome.INCONCLUSIVE


def test_an_adapter_that_changes_nothing_has_no_gap():
    values = losses(0.3, 0.3)
    for split in ("train", "test"):
        values["tuned", split] = values["base", split]
    check = check_of(values)
    assert check.measured["slope"] == 1.0
    assert check.measured["gap"]["estimate"] == pytest.approx(0.0, abs=1e-9)
    assert check.outcome is Outcome.PASS


def test_the_base_model_explains_what_it_can():
    rows = paired(made_evidence(losses=losses(0.3, 0.3, follows=1.0)).losses)
    assert explained_slope(rows) == pytest.approx(1.0, abs=0.05)
    rows = paired(made_evidence(losses=losses(0.3, 0.3)).losses)
    assert explained_slope(rows) < 0.05


def test_rows_that_are_easier_for_the_base_too_are_no_gap():
    """Trained rows cost both models 4 nats less: with a slope near 1 nothing of it is overfitting."""
    values = losses(0.3, 0.3, follows=1.0, rows=(100, 150))
    for model in ("base", "tuned"):
        values[model, "train"] = [loss - 4.0 for loss in values[model, "train"]]
    check = check_of(values)
    assert abs(check.measured["gap"]["estimate"]) < 0.4
    assert check.outcome is Outcome.PASS


def test_thresholds_of_the_config_are_used():
    evidence = made_evidence(
        losses=losses(0.001, 1.0, rows=(36, 100)),
        overfitting={**OFF, "gain_gap": {"max_gap": 3.0, "max_share": 0.5}},
        tables={"tokens": healthy().tokens, "rows": healthy().rows},
    )
    check = {check.name: check for check in overfitting.judge(evidence)}["overfitting:gain-gap"]
    assert check.outcome is Outcome.PASS
    assert check.required["max_gap"] == 3.0


def test_the_same_files_give_the_same_check():
    values = losses(0.3, 0.5)
    assert check_of(values) == check_of(values)


def test_a_healthy_model_is_not_called_overfit():
    """False alarms over made runs with a true gap of a sixth of the loss; nothing fails and nearly all pass."""
    outcomes = [check_of(losses(0.28, 0.33)).outcome for _ in range(20)]
    assert outcomes.count(Outcome.FAIL) == 0
    assert outcomes.count(Outcome.PASS) >= 18
