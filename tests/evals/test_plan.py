"""`assay plan`: what is planned, what it says, and how it exits."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

import evals.plan
from curate.configfile import Project, load_project
from curate.pipeline import curate
from curate.power import items_for_gain
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
from schemas.stage import Finished
from schemas.train_config import TrainConfig
from schemas.verdict import Check, Outcome
from tests.evals.made_adapter import TASK, made_adapter
from tests.toy_project import ToyProject
from train.resources import PARTS
from train.resources import this_device as real_device

GOLDEN = Path(__file__).parent / "golden" / "plan.txt"


CONFIG = {
    "name": "toy",
    "data": {"sources": ["rows.jsonl"]},
    "curate": {"steps": ["schema"], "split": {"train": 0.5, "validation": 0.25, "test": 0.25}},
    "gates": {"model": {"tasks": {"t": {"must": "improve", "detect": 0.1}}}},
    "evals": {"suites": ["t"]},
}
WORDS = "amber birch cedar dune ember fjord grove heath inlet jetty knoll ledge marsh north orbit pond".split()


@dataclasses.dataclass
class Planned:
    """A curated dataset of 16 short questions, and plans of it."""

    toy: ToyProject

    def project(self, **train) -> Project:
        config = CONFIG | {"train": {"base_model": str(self.toy.model), "batch_size": 4, "max_examples": None, **train}}
        path = self.toy.root / "assay.yaml"
        path.write_text(yaml.safe_dump(config), "utf-8")
        return load_project(path)

    def plan(self, verdict: Outcome | None = Outcome.PASS, *, calibrated: bool = False, **train) -> Plan:
        project = self.project(**train)
        if verdict is not None:
            self.toy.verdict(self.dataset, verdict)
        return plan_run(project, self.dataset.path, calibrated=calibrated)

    @property
    def dataset(self) -> Finished:
        return curate(self.project())


@pytest.fixture
def toy(tmp_path, tiny_model_folder):
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(TASK | {"task": "t"}), "utf-8")
    turns = [
        [{"role": "user", "content": f"{word} " * (k + 1)}, {"role": "assistant", "content": ("no", "yes")[k % 2]}]
        for k, word in enumerate(WORDS)
    ]
    lines = [json.dumps({"messages": messages}) + "\n" for messages in turns]
    (tmp_path / "rows.jsonl").write_text("".join(lines), "utf-8")
    return Planned(ToyProject(tmp_path, tiny_model_folder))


def check(plan: Plan, name: str) -> Check:
    return next(one for one in plan.checks if one.name == name)


def test_rows_and_stages_are_those_of_the_run(toy):
    made = toy.plan(max_examples=5, epochs=2)
    assert (made.rows.in_split, made.rows.trained, made.rows.not_chosen, made.rows.steps) == (8, 5, 3, 4)
    assert made.rows.padded_tokens >= made.rows.tokens > made.rows.supervised_tokens > 0
    assert {stage.stage: stage.state for stage in made.stages} == {
        "curate": "finished", "gate-data": "to do", "train": "to do", "evals": "to do",
    }  # fmt: skip
    assert made.time is None
    assert made.cost is None
    assert "--no-calibrate" in made.time_note


def test_the_detectable_effect_is_that_of_the_power_calculation(toy):
    made = check(toy.plan(), "t:detectable-effect")
    assert made.outcome is Outcome.INCONCLUSIVE
    assert made.measured["items"] == 4
    assert made.measured["detectable"] is None
    assert made.message.startswith("4 items can show no gain at all with power 0.8; 0.1 is asked for")
    assert made.measured["items_needed"] == items_for_gain(0.1, 0.05)


def test_a_batch_that_does_not_fit_fails_and_says_which_does(toy, monkeypatch):
    roomy = toy.plan().memory
    assert roomy is not None
    overhead, total = roomy.longest.overhead, roomy.longest.total
    device = dataclasses.replace(real_device(TrainConfig()), overhead=overhead, free=total - 1)
    monkeypatch.setattr(evals.plan, "this_device", lambda settings: device)
    made = toy.plan(calibrated=True)
    memory = check(made, "memory")
    assert (memory.outcome, made.outcome) == (Outcome.FAIL, Outcome.FAIL)
    assert made.memory is not None
    assert made.memory.longest.fitting in (1, 2, 3)
    assert f"train.batch_size to {made.memory.longest.fitting}" in memory.help
    assert made.time is None


def test_without_a_figure_for_free_memory_nothing_is_decided(toy, monkeypatch):
    device = dataclasses.replace(real_device(TrainConfig()), free=None)
    monkeypatch.setattr(evals.plan, "this_device", lambda settings: device)
    made = toy.plan()
    assert check(made, "memory").outcome is Outcome.INCONCLUSIVE
    assert made.memory is not None
    assert made.memory.longest.fitting is None


@pytest.mark.parametrize("outcome", [Outcome.FAIL, Outcome.INCONCLUSIVE])
def test_what_the_data_gate_said_counts(toy, outcome):
    made = toy.plan(outcome)
    assert check(made, "data-gate").outcome is outcome
    assert made.outcome is outcome


def test_a_dataset_that_was_not_judged_is_no_fault_yet(toy):
    assert check(toy.plan(None), "data-gate").outcome is Outcome.NOT_APPLICABLE


def test_a_finished_adapter_is_not_planned_again(toy):
    dataset = toy.dataset
    toy.toy.verdict(dataset)
    made_adapter(toy.project(), dataset)
    made = toy.plan(calibrated=True)
    states = {stage.stage: stage.state for stage in made.stages}
    assert (states["train"], states["evals"]) == ("finished", "to do")
    assert made.time is None
    assert made.time_note == "nothing to train: an equal run is finished"


def test_a_calibrated_plan_has_time_and_cost(toy):
    made = toy.plan(calibrated=True, price_per_hour=3.6, watch={"rows": 4})
    assert made.time is not None
    assert made.cost is not None
    assert 0 < made.time.low < made.time.seconds < made.time.high
    assert made.time.timed_steps >= 1
    assert min(made.time.start, made.time.training, made.time.watching, made.time.checkpoints) > 0
    assert made.cost.cost == pytest.approx(made.time.seconds / 1000, abs=1e-5)
    assert not list((toy.toy.root / "runs").glob("train*"))


def test_the_command_prints_json_and_exits_as_the_plan_says(toy):
    toy.toy.verdict(toy.dataset)
    arguments = ["-c", str(toy.project().path), "--no-calibrate", "-q", "--format", "json"]
    result = CliRunner().invoke(command, arguments, standalone_mode=False)
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
