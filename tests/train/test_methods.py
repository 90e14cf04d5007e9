"""Every method on the tiny model: it learns from its own kind of rows, and a run that was stopped ends the same."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from schemas.errors import UserError
from tests.toy_project import ToyProject, toy_kind, toy_rows
from train.monitor import SilentView
from train.run import train, train_stage

METHODS = ["sft", "text", "full", "dpo", "kto", "reward", "grpo"]
EXTRA = {
    "grpo": {
        "rewards": [{"use": "regex", "options": {"pattern": "[a-z]"}}, {"python": "mine.py:short", "weight": 0.1}],
        "batch_size": 8,
        "max_new_tokens": 4,
    }
}
MINE = """
def short(completion, reference, row):
    return -float(len(completion)) if reference in ("yes", "no") else None
"""


class StopAt(SilentView):
    def __init__(self, step: int) -> None:
        self._step = step

    def advance(self, step: int, tokens: int, loss: float) -> None:
        if step == self._step:
            raise KeyboardInterrupt


def prepared(root: Path, model: Path, method: str, **given):
    """A project and its gated dataset for a method."""
    toy = ToyProject(root, model)
    (root / "mine.py").write_text(MINE, "utf-8")
    dataset = toy.dataset(
        **{
            split: toy_kind(method, count, split[:2])
            for split, count in (("train", 12), ("validation", 4), ("test", 4))
        }
    )
    toy.verdict(dataset)
    settings = {"method": method, "lora": {"r": 2}, "epochs": 2, "checkpoint_steps": 2, "learning_rate": 2e-3}
    return toy.project(**settings | EXTRA.get(method, {}) | given), dataset.path


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "manifest.json")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.mark.parametrize("method", METHODS)
def test_a_method_trains_and_goes_on_where_it_was_stopped(tiny_model_folder, tmp_path, method):
    project, dataset = prepared(tmp_path, tiny_model_folder, method)
    stop = 8 if method == "grpo" else 5
    with pytest.raises(KeyboardInterrupt):
        train(project, dataset, StopAt(stop))
    resumed = train(project, dataset, SilentView())
    metrics = [json.loads(line) for line in (resumed.folder / "metrics.jsonl").read_text().splitlines()]
    assert [one["step"] for one in metrics] == list(range(resumed.manifest.counts["steps"] + 1))
    assert {"trained_loss", "held_out_loss", "gain_gap"} <= set(metrics[0]) & set(metrics[-1])
    assert all("tokens" in one and one["tokens"] > 0 for one in metrics[1:])
    if method not in ("grpo", "kto"):
        assert metrics[-1]["trained_loss"] < metrics[0]["trained_loss"]
    weights = next(resumed.folder.rglob("*.safetensors"))
    assert any(
        tensor.abs().sum() > 0 for name, tensor in load_file(weights).items() if "lora_B" in name or method == "full"
    )
    (tmp_path / "whole").mkdir()
    again, dataset = prepared(tmp_path / "whole", tiny_model_folder, method)
    assert contents(train(again, dataset, SilentView()).folder) == contents(resumed.folder)


def test_full_fine_tuning_writes_a_model_that_transformers_reads(tiny_model_folder, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    project, dataset = prepared(tmp_path, tiny_model_folder, "full")
    folder = train(project, dataset, SilentView()).folder / "model"
    tuned, base = (AutoModelForCausalLM.from_pretrained(place) for place in (folder, tiny_model_folder))
    assert any(not torch.equal(a, b) for a, b in zip(tuned.parameters(), base.parameters(), strict=True))
    assert AutoTokenizer.from_pretrained(folder).chat_template


def test_a_reward_model_keeps_its_head_in_the_adapter(tiny_model_folder, tmp_path):
    project, dataset = prepared(tmp_path, tiny_model_folder, "reward")
    names = set(load_file(next(train(project, dataset, SilentView()).folder.rglob("adapter_model.safetensors"))))
    assert any("score" in name for name in names)


@pytest.mark.parametrize(
    "lora",
    [{"use_rslora": True}, {"use_dora": True}, {"init": "gaussian"}, {"init": "orthogonal"}],
    ids=["rslora", "dora", "gaussian", "orthogonal"],
)
def test_variants_of_lora_start_as_the_base_model(tiny_model_folder, tmp_path, lora):
    plain, dataset = prepared(tmp_path, tiny_model_folder, "sft")
    expected = (train(plain, dataset, SilentView()).folder / "metrics.jsonl").read_text().splitlines()[0]
    (tmp_path / "other").mkdir()
    project, dataset = prepared(tmp_path / "other", tiny_model_folder, "sft", lora={"r": 2, **lora})
    first, *rest = (train(project, dataset, SilentView()).folder / "metrics.jsonl").read_text().splitlines()
    assert json.loads(first)["held_out_loss"] == pytest.approx(json.loads(expected)["held_out_loss"], rel=1e-5)
    assert json.loads(rest[-1])["held_out_loss"] < json.loads(first)["held_out_loss"]


def test_canaries_are_trained_as_often_as_they_are_inserted(tiny_model_folder, tmp_path):
    project, dataset = prepared(tmp_path, tiny_model_folder, "sft", canaries=2, epochs=4, learning_rate=3e-2)
    finished = train(project, dataset, SilentView())
    ledger = json.loads((finished.folder / "ledger.json").read_text())
    assert ledger["canaries"] == 2 * (1 + 2 + 4)
    assert ledger["rows_trained"] == 12
    first, *_, last = [json.loads(line) for line in (finished.folder / "metrics.jsonl").read_text().splitlines()]
    gains = {dose: first[f"canary_{dose}_loss"] - last[f"canary_{dose}_loss"] for dose in (0, 1, 2, 4)}
    assert all(gain > 0 for gain in gains.values())


# ------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("method", "given", "what"),
    [
        ("sft", {"quantization": "4bit"}, "cannot do what the config asks for"),
        ("sft", {"attention": "flash_attention_2"}, "cannot do what the config asks for"),
        ("sft", {"report_to": ["mlflow"]}, "tracker is not installed"),
        ("sft", {"lora": {"r": 3, "init": "orthogonal"}}, "orthogonal at an odd rank"),
        ("grpo", {"rewards": [{"use": "nothing"}]}, "no reward of this name"),
        ("grpo", {"rewards": [{"python": "mine.py:absent"}]}, "cannot be used"),
        ("grpo", {"rewards": [{"python": "../mine.py:short"}]}, "cannot be found"),
        ("grpo", {"batch_size": 80}, "too few prompts"),
    ],
)
def test_settings_that_cannot_work_are_refused_before_weights_are_loaded(
    tiny_model_folder, tmp_path, monkeypatch, method, given, what
):
    from train import adapter

    monkeypatch.setattr(adapter, "load_weights", lambda *given: pytest.fail("weights were loaded"))
    project, dataset = prepared(tmp_path, tiny_model_folder, method, **given)
    with pytest.raises(UserError, match=what):
        train(project, dataset, SilentView())
    assert not list((tmp_path / "runs").glob("train/*"))


def test_all_faults_of_the_settings_come_at_once(tiny_model_folder, tmp_path):
    given = {"quantization": "4bit", "lora": {"target_modules": ["nope"]}, "max_length": 4096}
    project, dataset = prepared(tmp_path, tiny_model_folder, "sft", **given)
    with pytest.raises(UserError) as caught:
        train(project, dataset, SilentView())
    assert [problem.where for problem in caught.value.problems] == [
        "train.lora.target_modules",
        "train.max_length",
        "train.quantization",
    ]


def test_answers_that_are_all_alike_do_not_teach_kto(tiny_model_folder, tmp_path):
    toy = ToyProject(tmp_path, tiny_model_folder)
    rows = [row for row in toy_kind("kto", 12) if row["record"]["label"]]
    dataset = toy.dataset(train=rows, validation=rows[:2])
    toy.verdict(dataset)
    with pytest.raises(UserError, match="all answers are marked alike"):
        train(toy.project(method="kto"), dataset.path, SilentView())


def test_rows_of_another_kind_are_refused(tiny_model_folder, tmp_path):
    toy = ToyProject(tmp_path, tiny_model_folder)
    dataset = toy.dataset(train=toy_rows(6))
    toy.verdict(dataset)
    with pytest.raises(UserError, match="not one that method `dpo` trains") as caught:
        train(toy.project(method="dpo"), dataset.path, SilentView())
    assert "method sft" in caught.value.problems[0].found


def test_another_reward_function_is_another_training(tiny_model_folder, tmp_path):
    project, dataset = prepared(tmp_path, tiny_model_folder, "grpo")
    before = train_stage(project, dataset, None).folder
    assert train_stage(project, dataset, None).folder == before
    (tmp_path / "mine.py").write_text(MINE + "# changed\n", "utf-8")
    assert train_stage(project, dataset, None).folder != before


def test_a_row_that_no_reward_applies_to_is_named(tiny_model_folder, tmp_path):
    project, dataset = prepared(tmp_path, tiny_model_folder, "grpo", rewards=[{"python": "mine.py:short"}])
    (tmp_path / "mine.py").write_text("def short(completion, reference, row):\n    return None\n", "utf-8")
    with pytest.raises(UserError, match="no reward function applies") as caught:
        train(project, dataset, SilentView())
    assert caught.value.problems[0].where.startswith("rows.jsonl:")


@pytest.mark.parametrize("method", ["dpo", "reward"])
def test_pairs_of_equal_answers_teach_nothing(tiny_model_folder, tmp_path, method):
    toy = ToyProject(tmp_path, tiny_model_folder)
    rows = toy_kind(method, 12)
    rows[4]["record"] = {**rows[4]["record"], "rejected": rows[4]["record"]["chosen"]}
    dataset = toy.dataset(train=rows, validation=[])
    toy.verdict(dataset)
    with pytest.raises(UserError, match="1 of 12 rows") as caught:
        train(toy.project(method=method), dataset.path, SilentView())
    assert caught.value.problems[1].where == "rows.jsonl:5"


def test_canaries_that_do_not_fit_are_refused(tiny_model_folder, tmp_path):
    project, dataset = prepared(tmp_path, tiny_model_folder, "sft", canaries=2, max_length=32)
    with pytest.raises(UserError, match="rows of the canaries cannot be trained"):
        train(project, dataset, SilentView())


def test_canaries_are_measured_without_a_validation_split(tiny_model_folder, tmp_path):
    toy = ToyProject(tmp_path, tiny_model_folder)
    dataset = toy.dataset(train=toy_rows(8), validation=[])
    toy.verdict(dataset)
    folder = train(toy.project(canaries=1, lora={"r": 2}), dataset.path, SilentView()).folder
    first = json.loads((folder / "metrics.jsonl").read_text().splitlines()[0])
    assert {f"canary_{dose}_loss" for dose in (0, 1, 2, 4)} <= set(first)


def test_validation_rows_that_cannot_be_measured_are_refused(tiny_model_folder, tmp_path):
    toy = ToyProject(tmp_path, tiny_model_folder)
    broken = [{**row, "messages": [{"role": "user", "content": "nobody answers"}]} for row in toy_rows(3, "v")]
    dataset = toy.dataset(train=toy_rows(8), validation=broken)
    toy.verdict(dataset)
    with pytest.raises(UserError, match="3 of 3 rows of the validation split"):
        train(toy.project(), dataset.path, SilentView())


def test_early_stopping_needs_rows_to_stop_by(tiny_model_folder, tmp_path):
    toy = ToyProject(tmp_path, tiny_model_folder)
    dataset = toy.dataset(train=toy_rows(8), validation=[])
    toy.verdict(dataset)
    with pytest.raises(UserError, match="no held-out loss to stop by"):
        train(toy.project(early_stopping=2), dataset.path, SilentView())


def test_a_reward_that_fails_is_named_and_nothing_is_left(tiny_model_folder, tmp_path):
    project, dataset = prepared(tmp_path, tiny_model_folder, "grpo", rewards=[{"python": "mine.py:short"}])
    (tmp_path / "mine.py").write_text("def short(completion, reference, row):\n    return 1 / 0\n", "utf-8")
    with pytest.raises(UserError, match="reward function failed") as caught:
        train(project, dataset, SilentView())
    assert "ZeroDivisionError" in caught.value.problems[0].found
    assert not list((tmp_path / "runs" / "train").iterdir())
