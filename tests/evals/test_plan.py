"""`assay plan`: what is planned, what it says, and how it exits."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

import evals.plan
from curate.power import detectable_gain, items_for_gain
from evals.cli_plan import plan as command
from evals.plan import plan_run
from evals.plan_text import as_json, as_text
from schemas.errors import ExitCode
from schemas.plan import (
    Plan,
    PlannedBatch,
    PlannedCost,
    PlannedDevice,
    PlannedMemory,
    PlannedParameters,
    PlannedRows,
    PlannedStage,
    PlannedTime,
)
from schemas.verdict import Check, Outcome
from tests.evals.made_adapter import TASK, made_adapter
from tests.toy_project import ToyProject, toy_rows
from train.resources import PARTS
from train.resources import this_device as real_device

GOLDEN = Path(__file__).parent / "golden" / "plan.txt"


@pytest.fixture
def toy(tmp_path, tiny_model_folder):
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(TASK | {"task": "t"}), "utf-8")
    return ToyProject(tmp_path, tiny_model_folder)


def planned(toy: ToyProject, **train) -> Plan:
    dataset = toy.dataset(test=toy_rows(12, "t"))
    toy.verdict(dataset)
    return plan_run(toy.project(**train), dataset.path, calibrated=False)


def check(plan: Plan, name: str) -> Check:
    return next(one for one in plan.checks if one.name == name)


def test_rows_and_stages_are_those_of_the_run(toy):
    made = planned(toy, max_examples=9, epochs=2)
    assert (made.rows.in_split, made.rows.trained, made.rows.not_chosen, made.rows.steps) == (14, 9, 5, 6)
    assert made.rows.padded_tokens >= made.rows.tokens > made.rows.supervised_tokens > 0
    assert {stage.stage: stage.state for stage in made.stages} == {
        "curate": "finished", "gate-data": "to do", "train": "to do", "evals": "to do",
    }  # fmt: skip
    assert made.time is None
    assert made.cost is None
    assert "--no-calibrate" in made.time_note


def test_the_detectable_effect_is_that_of_the_power_calculation(toy):
    made = check(planned(toy), "t:detectable-effect")
    assert made.outcome is Outcome.INCONCLUSIVE
    assert made.measured["items"] == 12
    assert made.measured["detectable"] == pytest.approx(detectable_gain(12, 0.05), abs=1e-6)
    assert made.measured["items_needed"] == items_for_gain(0.1, 0.05)


def test_a_batch_that_does_not_fit_fails_and_says_which_does(toy, monkeypatch):
    roomy = planned(toy).memory
    assert roomy is not None
    tight = roomy.longest.overhead + (roomy.longest.total - roomy.longest.overhead) // 2
    device = dataclasses.replace(real_device(toy.project().config.train), overhead=roomy.longest.overhead, free=tight)
    monkeypatch.setattr(evals.plan, "this_device", lambda settings: device)
    made = planned(toy)
    memory = check(made, "memory")
    assert (memory.outcome, made.outcome) == (Outcome.FAIL, Outcome.FAIL)
    assert made.memory is not None
    fitting = made.memory.longest.fitting
    assert fitting is not None
    assert fitting < 4
    assert f"train.batch_size to {fitting}" in memory.help if fitting else "gradient_checkpointing" in memory.help


def test_without_a_figure_for_free_memory_nothing_is_decided(toy, monkeypatch):
    device = dataclasses.replace(real_device(toy.project().config.train), free=None)
    monkeypatch.setattr(evals.plan, "this_device", lambda settings: device)
    made = planned(toy)
    assert check(made, "memory").outcome is Outcome.INCONCLUSIVE
    assert made.memory is not None
    assert made.memory.longest.fitting is None


@pytest.mark.parametrize(
    ("said", "outcome"), [(Outcome.FAIL, Outcome.FAIL), (Outcome.INCONCLUSIVE, Outcome.INCONCLUSIVE)]
)
def test_what_the_data_gate_said_counts(toy, said, outcome):
    dataset = toy.dataset()
    toy.verdict(dataset, said)
    made = plan_run(toy.project(), dataset.path, calibrated=False)
    assert check(made, "data-gate").outcome is outcome
    assert made.outcome is outcome


def test_a_dataset_that_was_not_judged_is_no_fault_yet(toy):
    made = plan_run(toy.project(), toy.dataset().path, calibrated=False)
    assert check(made, "data-gate").outcome is Outcome.NOT_APPLICABLE


def test_a_finished_adapter_is_not_planned_again(toy):
    dataset = toy.dataset(test=toy_rows(12, "t"))
    toy.verdict(dataset)
    made_adapter(toy.project(), dataset)
    made = plan_run(toy.project(), dataset.path)
    states = {stage.stage: stage.state for stage in made.stages}
    assert (states["train"], states["evals"]) == ("finished", "to do")
    assert made.time is None
    assert made.time_note == "nothing to train: an equal run is finished"


def test_a_calibrated_plan_has_time_and_cost(toy):
    dataset = toy.dataset()
    made = plan_run(toy.project(price_per_hour=3.6, watch={"rows": 4}), dataset.path)
    assert made.time is not None
    assert made.cost is not None
    assert 0 < made.time.low < made.time.seconds < made.time.high
    assert made.time.timed_steps >= 1
    assert min(made.time.start, made.time.training, made.time.watching, made.time.checkpoints) > 0
    assert made.cost.cost == pytest.approx(made.time.seconds / 1000, abs=1e-5)
    assert not list((toy.root / "runs").glob("train*"))


def test_the_command_prints_json_and_exits_as_the_plan_says(toy):
    dataset = toy.dataset(test=toy_rows(12, "t"))
    toy.verdict(dataset)
    project = toy.project()
    arguments = ["-c", str(project.path), "--dataset", str(dataset.path), "--no-calibrate", "-q"]
    result = CliRunner().invoke(command, [*arguments, "--format", "json"], standalone_mode=False)
    assert result.exception is None, result.exception
    assert result.return_value is ExitCode.INCONCLUSIVE
    read = Plan.model_validate_json(result.stdout)
    assert json.loads(result.stdout)["schema"] == "assay/plan/1"
    assert read.method == "sft"


def fixed_plan() -> Plan:
    parts = dict.fromkeys(PARTS, 0) | {"weights": 538_060_032, "adapter": 3_686_400, "optimizer": 7_372_800}
    longest = PlannedBatch(
        sequences=6, tokens=213, parts=parts | {"activations": 1_400_000_000, "logits": 59_000_000},
        overhead=700_000_000, tensors=2_008_119_232, total=2_768_362_808, fitting=61,
    )  # fmt: skip
    full = longest.model_copy(update={"tokens": 256, "total": 3_100_000_000, "fitting": None})
    return Plan(
        name="triage",
        method="sft",
        base_model="a-model",
        device=PlannedDevice(name="cpu", dtype="float32", free_bytes=23_000_000_000),
        parameters=PlannedParameters(base=134_515_008, trained=921_600, adapter={"q_proj": 460_800, "v_proj": 460_800}),
        rows=PlannedRows(
            in_split=4000, not_chosen=3000, trained=1000, truncated=3, truncated_tokens=120, tokens=112_345,
            supervised_tokens=1999, padded_tokens=115_000, epochs=2, steps=334,
        ),
        memory=PlannedMemory(longest=longest, full_length=full),
        time=PlannedTime(
            seconds=610.0, low=549.0, high=671.0, start=4.0, training=560.0, watching=40.0, checkpoints=6.0,
            timed_steps=6,
        ),
        time_note="from 6 optimiser steps of this run that were timed on this machine",
        cost=PlannedCost(price_per_hour=2.5, cost=0.423611, low=0.38125, high=0.465972),
        stages=(
            PlannedStage(stage="curate", state="finished", detail="its rows are used", path="runs/curate/x"),
            PlannedStage(stage="train", state="begun", detail="goes on after step 20", path=None),
        ),
        checks=(
            Check(name="memory", outcome=Outcome.PASS, message="training needs 2.58 GiB, 21.42 GiB are free"),
            Check(name="t:detectable-effect", outcome=Outcome.INCONCLUSIVE, message="too few\x1b[2J", help="add items"),
        ),
        outcome=Outcome.INCONCLUSIVE,
    )  # fmt: skip


def test_the_text_is_as_it_was():
    assert as_text(fixed_plan()) == GOLDEN.read_text("utf-8")


def test_the_json_is_the_plan():
    assert Plan.model_validate_json(as_json(fixed_plan())) == fixed_plan()
