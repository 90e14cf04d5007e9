"""Planted models: rows, cases, the chain, seeds that are run once, and what the rates say."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from scipy.stats import binomtest

import evals.selftest.seeds as seeds_module
from evals.cli_selftest import selftest_model as command
from evals.discovery import modules
from evals.measuring import When
from evals.measuring import check as measured_check
from evals.selftest import base_model, chain
from evals.selftest.case import GATE, Case, Expected, planted_cases
from evals.selftest.chain import Effect, SeedResult, effects_of, run_seed
from evals.selftest.model_gates import EMBEDDED_CASES, Wanted, selftest_models
from evals.selftest.pages import MODEL_FORMS
from evals.selftest.rates import ALPHA, Rate, model_rates
from evals.selftest.seeds import place_of, run_seeds
from evals.selftest.stored import newest_selftest, quoted
from evals.selftest.task import USED, made_rows, shuffled_answers
from schemas.errors import UserError
from schemas.manifest import read_manifest
from schemas.progress import SILENT
from schemas.verdict import Check, Outcome

PASS, FAIL, UNSURE = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE
FAULT = Case("bad", "a <b>fault</b> | x", "fault", (Expected("overfitting:*", (FAIL,)), Expected(GATE, (FAIL,))))
SOUND = Case("good", "sound", "sound", (Expected(GATE, (PASS,)),), (Expected(GATE, (FAIL,)),))


def result(case: str, seed: int, gate: Outcome, gap: Outcome, error: str = "") -> SeedResult:
    says = {} if error else {GATE: gate, "overfitting:gap": gap, "overfitting:none": Outcome.NOT_APPLICABLE}
    return SeedResult(case=case, seed=seed, says=says, scores={"base": 0.1}, error=error, cpu_seconds=1.0)


# ------------------------------------------------------------------------------------------------------------ rows


def test_rows_follow_from_their_seed():
    assert made_rows(4, 30) == made_rows(4, 50)[:30]
    assert made_rows(4, 30) != made_rows(5, 30)
    rows = made_rows(4, 400)
    assert len({row.question for row in rows}) == 400
    assert len({row.label for row in rows}) == USED[0]
    assert all(len(row.answer.split()) > 5 for row in rows)
    assert {len(row.answer.split()) for row in made_rows(4, 50, short=True)} == {1}


def test_other_messages_by_the_same_table():
    more = made_rows(4, 30, rows_seed=99)
    assert not {row.question for row in more} & {row.question for row in made_rows(4, 400)}


def test_shuffled_answers_are_the_same_answers_elsewhere():
    rows = made_rows(4, 100)
    shuffled = shuffled_answers(rows, 0)
    assert sorted(row.answer for row in shuffled) == sorted(row.answer for row in rows)
    assert [row.question for row in shuffled] == [row.question for row in rows]
    assert sum(a.answer == b.answer for a, b in zip(rows, shuffled, strict=True)) < 40


# ----------------------------------------------------------------------------------------------------------- cases


def test_every_case_says_what_it_must_lead_to():
    cases = {case.name: case for case in planted_cases()}
    assert {name for name, case in cases.items() if case.kind == "sound"} == {"healthy", "healthy_labels", "no_op"}
    assert set(EMBEDDED_CASES) <= set(cases)
    for name, case in cases.items():
        assert case.expected, name
        assert bool(case.alarms) == (case.kind == "sound"), name
        if case.kind == "fault":
            assert Expected(GATE, (FAIL,)) in case.expected, name


def test_a_no_op_that_is_called_improved_is_an_alarm():
    (case,) = planted_cases(["no_op"])
    assert not case.alarmed({GATE: FAIL, "made_test:improve": UNSURE, "overfitting:gain-gap": PASS})
    assert case.alarmed({GATE: FAIL, "made_test:improve": PASS, "overfitting:gain-gap": PASS})
    assert case.alarmed({GATE: FAIL, "made_test:improve": UNSURE, "overfitting:gain-gap": FAIL})


def test_a_fault_is_caught_by_a_measurement_and_not_by_the_gate_alone():
    assert not FAULT.as_expected({GATE: FAIL, "overfitting:gap": PASS, "made_test:improve": FAIL})
    assert FAULT.as_expected({GATE: FAIL, "overfitting:gap": FAIL})


def test_there_is_no_case_of_another_name():
    with pytest.raises(UserError, match="no such planted case"):
        planted_cases(["ghost"])


# ----------------------------------------------------------------------------------------------------------- rates


@pytest.mark.parametrize(("hits", "trials"), [(0, 7), (3, 7), (7, 7), (59, 60)])
def test_intervals_are_scipy_s(hits, trials):
    rate = Rate.of(hits, trials)
    expected = binomtest(hits, trials).proportion_ci(1 - ALPHA, method="exact")
    assert [rate.low, rate.high] == pytest.approx([expected.low, expected.high], abs=1e-6)


def test_no_miss_in_59_is_what_it_takes():
    assert Rate.of(59, 59).at_least(0.95) is PASS
    assert Rate.of(58, 58).at_least(0.95) is UNSURE
    assert Rate.of(50, 60).at_least(0.95) is FAIL
    assert Rate.of(0, 59).at_most(0.05) is PASS
    assert Rate.of(0, 58).at_most(0.05) is UNSURE
    assert Rate.of(10, 60).at_most(0.05) is FAIL
    assert Rate.of(0, 0).at_least(0.95) is UNSURE


def test_rates_count_what_was_missed_and_what_was_wrongly_said():
    found = {
        "bad": [result("bad", 0, FAIL, FAIL), result("bad", 1, FAIL, PASS), result("bad", 2, FAIL, FAIL, "no room")],
        "good": [result("good", 0, PASS, PASS), result("good", 1, FAIL, FAIL), result("good", 2, UNSURE, PASS)],
    }
    rates = model_rates([FAULT, SOUND], found, "tiny", quick=False)
    bad, good = rates.cases
    assert (bad.missed, bad.errors, bad.as_expected.hits) == ((1, 2), {"2": "no room"}, 1)
    assert (good.missed, good.alarmed_seeds) == ((1, 2), (1,))
    assert good.alarmed is not None
    assert (good.alarmed.hits, good.alarmed.trials) == (1, 3)
    assert good.says[GATE] == {"pass": 1, "fail": 1, "inconclusive": 1}
    detection = {name: (rate.hits, rate.trials) for name, rate in rates.detection.items()}
    assert detection == {GATE: (2, 3), "overfitting:gap": (1, 3), "overfitting:none": (0, 1)}
    assert {name: rate.hits for name, rate in rates.false_alarms.items()} == {
        GATE: 1,
        "overfitting:gap": 1,
        "overfitting:none": 0,
    }
    assert (bad.outcome, good.outcome, rates.outcome) == (FAIL, UNSURE, FAIL)


def test_effects_are_what_a_threshold_bounds():
    gap = {"gap": {"estimate": 0.5, "low": 0.1, "high": 0.9}, "share": {"estimate": None}, "slope": 1.0}
    checks = [
        measured_check("gain_gap", FAIL, "", gap, {"max_gap": 0.2, "max_share": 0.5}),
        measured_check("drift", UNSURE, "", {"documents": 3}, {"max_rise": 0.25}),
        measured_check("membership", PASS, "", {"loss": {"excess": {"estimate": 0.1}}}, {"max_excess": 0.2}),
        Check(name="control:splits", outcome=PASS, message="", measured={"gap": {"estimate": 1.0}}, required={}),
    ]
    found = {name: (effect.estimate, effect.bound) for name, effect in effects_of(checks).items()}
    assert found == {"overfitting:gain-gap gap": (0.5, 0.2), "overfitting:membership loss.excess": (0.1, 0.2)}


def test_every_measurement_says_which_number_each_effect_is_bounded_by():
    for module in modules("evals.overfitting"):
        assert set(module.EFFECTS.values()) <= set(module.DEFAULTS), module.__name__
        assert module.EFFECTS, module.__name__


def test_an_effect_is_shown_with_its_bound_and_its_spread():
    seeds = [
        result("bad", seed, FAIL, FAIL).model_copy(
            update={"effects": {"overfitting:gap size": Effect(estimate=seed / 10, bound=0.2)}}
        )
        for seed in range(21)
    ]
    rates = model_rates([FAULT], {"bad": seeds}, "tiny", quick=False)
    spread = rates.cases[0].effects["overfitting:gap size"]
    assert (spread.seeds, spread.low, spread.median, spread.high, spread.bound) == (21, 0.1, 1.0, 1.9, 0.2)
    line = next(line for line in MODEL_FORMS["txt"](rates).splitlines() if "gap size" in line)
    assert line.split() == ["gap", "size", "0.2", "1.000", "[0.100,", "1.900]"]


def test_a_fault_that_is_seldom_caught_fails_the_selftest():
    found = {"bad": [result("bad", seed, PASS, PASS) for seed in range(5)]}
    assert model_rates([FAULT], found, "tiny", quick=True).outcome is FAIL


@pytest.mark.parametrize("form", MODEL_FORMS)
def test_pages_show_rates_and_misses_and_are_harmless(form):
    found = {"bad": [result("bad", 7, PASS, PASS, "\x1b[31m<script>")]}
    text = MODEL_FORMS[form](model_rates([FAULT], found, "tiny", quick=True))
    assert "0 of 1" in text.replace("\\", "")
    assert "\x1b" not in text
    if form == "html":
        assert "<script>" not in text
        assert "<b>fault</b>" not in text
    if form == "md":
        assert "<b>" not in text.replace("\\<b\\>", "")


# ----------------------------------------------------------------------------------------------------------- chain


def small(case: Case, **train: object) -> Case:
    """A case for the tiny model of the tests, whose tokens are bytes."""
    less = {"epochs": 1, "max_examples": 16, "max_length": 400, "lora": {"r": 2}}
    return dataclasses.replace(case, train={**case.train, **less, **train})


@pytest.mark.parametrize("name", ["no_op", "leaked_test", "over_epoch_full"])
def test_a_case_runs_through_every_stage(name, tiny_model_folder, tmp_path):
    (case,) = planted_cases([name])
    found = run_seed(small(case), 1, tiny_model_folder, tmp_path / "work")
    assert found.error == ""
    assert set(found.says) >= {GATE, "made_test:improve"}
    named = {check.removeprefix("overfitting:").replace("-", "_") for check in found.says if check.startswith("overf")}
    judged = [module for module in modules("evals.overfitting") if module.WHEN in (When.ALWAYS, When.TOLD)]
    assert named >= {*case.named, *(module.__name__.rpartition(".")[2] for module in judged)}
    assert not (tmp_path / "work").exists()
    if name == "no_op":
        assert case.as_expected(found.says)
        assert not case.alarmed({check: says for check, says in found.says.items() if check.endswith("improve")})


def test_the_leak_is_in_the_rows(tiny_model_folder, tmp_path):
    (case,) = planted_cases(["leaked_test"])
    project = chain._project(case, 0, tiny_model_folder, tmp_path)
    dataset = chain._dataset(case, 0, project, tmp_path)
    rows = {split: (dataset.folder / "data" / f"{split}.jsonl").read_text().splitlines() for split in ("train", "test")}
    test = {json.loads(line)["messages"][0]["content"] for line in rows["test"]}
    train = {json.loads(line)["messages"][0]["content"] for line in rows["train"]}
    assert len(test & train) == len(test) / 2 == 200


def test_a_run_without_a_verdict_says_why(tmp_path):
    (case,) = planted_cases(["no_op"])
    found = run_seed(case, 0, tmp_path / "no-model", tmp_path / "work")
    assert found.says == {}
    assert "base model" in found.error
    assert not (tmp_path / "work").exists()


# ----------------------------------------------------------------------------------------------------------- seeds


@pytest.fixture
def ran(monkeypatch):
    """Replaces the processes by something that notes what it was asked for."""
    asked = []

    def run(missing, model_folder, progress, total, processes):
        for place, seed in missing:
            asked.append((place.case.name, seed))
            place.folder.mkdir(parents=True, exist_ok=True)
            says = FAIL if place.case.kind == "fault" else PASS
            place.file(seed).write_text(
                result(place.case.name, seed, says, says).model_dump_json(by_alias=True), "utf-8"
            )

    monkeypatch.setattr(seeds_module, "_run", run)
    return asked


def test_seeds_that_have_a_result_are_not_run_again(ran, tmp_path):
    places = [place_of(tmp_path, case, "base", "code") for case in (FAULT, SOUND)]
    first = run_seeds(places, range(2), tmp_path, SILENT)
    assert [one.seed for one in first["bad"]] == [0, 1]
    assert ran == [("bad", 0), ("good", 0), ("bad", 1), ("good", 1)]
    ran.clear()
    places[0].file(1).write_text('{"half', "utf-8")
    assert run_seeds(places, range(3), tmp_path, SILENT)["bad"][:2] == first["bad"]
    assert ran == [("bad", 1), ("bad", 2), ("good", 2)]


def test_a_worker_ends_with_the_run_that_was_killed():
    program = """
import multiprocessing, os, sys, time
from concurrent.futures import ProcessPoolExecutor
from evals.selftest.seeds import begin
if __name__ == "__main__":
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context, initializer=begin, initargs=(os.getpid(),)) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 60).result()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        worker = int(run.stdout.readline())
        os.kill(worker, 0)
        run.kill()
    end = time.monotonic() + 20
    while Path(f"/proc/{worker}").exists() and time.monotonic() < end:
        time.sleep(0.1)
    assert not Path(f"/proc/{worker}").exists() or Path(f"/proc/{worker}/stat").read_text().split()[2] == "Z"


def test_results_belong_to_settings_model_and_code(tmp_path):
    places = [
        place_of(tmp_path, FAULT, "base", "code"),
        place_of(tmp_path, dataclasses.replace(FAULT, train={"epochs": 2}), "base", "code"),
        place_of(tmp_path, FAULT, "other", "code"),
        place_of(tmp_path, FAULT, "base", "newer"),
    ]
    assert len({place.folder for place in places}) == 4


def test_rates_are_a_stage_that_reports_quote(ran, tmp_path, tiny_model_folder, monkeypatch):
    monkeypatch.setattr("evals.selftest.model_gates.ensure_small_model", lambda: tiny_model_folder)
    assert newest_selftest(tmp_path) is None
    few = selftest_models(tmp_path, Wanted([], range(2), quick=True), SILENT)
    more = selftest_models(tmp_path, Wanted([], range(60)), SILENT)
    assert few.folder != more.folder
    assert newest_selftest(tmp_path) == more.path
    assert read_manifest(more.path).counts["seeds"] == 60
    said = quoted(more.path)
    assert "with 60 seeds each: the gate failed 300 of 300" in said[0]
    assert "0 of 120" in said[0]
    assert any(line.startswith("overfitting:gap: failed 300 of 300") for line in said)
    assert len((more.folder / "seeds.jsonl").read_text().splitlines()) == 60 * len(planted_cases())
    assert selftest_models(tmp_path, Wanted([], range(60)), SILENT).reused


def test_the_command_tells_the_number_of_seeds(ran, tmp_path, tiny_model_folder, monkeypatch):
    monkeypatch.setattr("evals.selftest.model_gates.ensure_small_model", lambda: tiny_model_folder)
    arguments = ["--out", str(tmp_path), "--cases", "over_epoch", "--format", "json"]
    given = CliRunner().invoke(command, [*arguments, "--seeds", "2", "--first-seed", "5"], standalone_mode=False)
    assert (given.return_value, ran) == (4, [("over_epoch", 5), ("over_epoch", 6)])
    printed = json.loads(given.stdout)
    assert (printed["seeds"], printed["quick"], printed["outcome"]) == (2, False, "inconclusive")
    quick = CliRunner().invoke(command, [*arguments, "--quick"], standalone_mode=False)
    assert json.loads(quick.stdout)["quick"]
    assert CliRunner().invoke(command, ["--quick", "--seeds", "3"]).exit_code == 2


# ------------------------------------------------------------------------------------------------------ base model


def test_the_small_model_is_built_once_and_read_by_transformers(tmp_path, monkeypatch):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path))
    monkeypatch.setattr(base_model, "TRAINING", {**base_model.TRAINING, "steps": 2, "batch_size": 2, "length": 16})
    monkeypatch.setattr(base_model, "SHAPE", {**base_model.SHAPE, "vocab_size": 400, "num_hidden_layers": 1})
    monkeypatch.setattr(base_model, "VOCABULARY_TEXTS", 50)
    folder = base_model.ensure_small_model()
    weights = (folder / "model.safetensors").read_bytes()
    assert base_model.ensure_small_model() == folder
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    rendered = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
    assert rendered == "<|im_start|>user\nhi<|im_end|>\n"
    assert model.config.vocab_size == len(tokenizer) == 400
    (tmp_path / "again").mkdir()
    base_model.build(tmp_path / "again")
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == weights


@pytest.mark.slow
def test_the_small_model_learns_and_the_gate_tells_right_from_wrong(tmp_path):
    """One seed of each kind, in processes of their own, by the same command that runs dozens."""
    made = selftest_models(tmp_path, Wanted(["healthy", "over_epoch", "no_op"], range(1)), SILENT, os.cpu_count())
    found = json.loads((made.folder / "selftest.json").read_bytes())
    rates = {case["name"]: case for case in found["cases"]}
    assert rates["over_epoch"]["missed"] == []
    assert rates["no_op"]["alarmed_seeds"] == []
    assert rates["healthy"]["alarmed_seeds"] == []
    assert Path(made.folder / "selftest.html").is_file()
