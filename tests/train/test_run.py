"""The train stage as a whole, on the tiny model: what it publishes, what it refuses, and that a stopped run goes on."""

import dataclasses
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

from curate.gate import data_gate_stage
from curate.supervision import Supervised
from schemas.atomic import disk_error
from schemas.errors import ManifestError, UserError
from schemas.manifest import open_stage
from schemas.stage import run_stage
from schemas.train_config import TrainConfig
from schemas.verdict import Outcome
from tests.toy_project import ToyProject, toy_rows
from train import adapter, run
from train.examples import Example
from train.methods import sft
from train.monitor import SilentView
from train.prepare import watch_steps
from train.run import data_verdict_of, find_data_verdict, train, train_stage

SMALL = {"lora": {"r": 2, "last_layers": 2, "lora_dropout": 0.1}, "epochs": 2, "checkpoint_steps": 3}


class StopAt(SilentView):
    """Stops the run after a step, as Ctrl-C does."""

    def __init__(self, step: int) -> None:
        self._step = step

    def advance(self, step: int, tokens: int, loss: float) -> None:
        if step == self._step:
            raise KeyboardInterrupt


class Lines(SilentView):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def gated(toy: ToyProject, **splits):
    dataset = toy.dataset(**splits)
    toy.verdict(dataset)
    return dataset.path


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "manifest.json"
    }


# --------------------------------------------------------------------------------------------------- what it makes


def test_a_run_publishes_adapter_ledger_rows_and_metrics(toy):
    dataset = gated(toy)
    finished = train(toy.project(**SMALL), dataset, SilentView())
    manifest, folder = open_stage(finished.path, "train")
    assert sorted(contents(folder)) == [
        "adapter/adapter_config.json",
        "adapter/adapter_model.safetensors",
        "ledger.json",
        "metrics.jsonl",
        "trained_rows.parquet",
    ]
    roles = [ref.role for ref in manifest.inputs]
    assert roles[:2] == ["dataset", "data_verdict"]
    assert set(roles[2:]) == {"base_model"}
    assert all((folder / ref.path).is_file() for ref in manifest.inputs)
    assert manifest.counts["steps"] == 8
    assert manifest.counts["rows_trained"] == 14
    assert manifest.provenance.notes == ()

    ledger = json.loads((folder / "ledger.json").read_text("utf-8"))
    assert (ledger["rows_in"], ledger["rows_not_chosen"], ledger["rows_trained"]) == (14, 0, 14)
    assert ledger["labels"] == {"no": 5, "yes": 9}
    assert ledger["per_epoch"]["supervised_tokens"] == 5 * 3 + 9 * 4
    assert ledger["per_epoch"]["rows_with_end_of_turn"] == 14
    assert ledger["held_out"]["rows"] == 5

    rows = pl.read_parquet(folder / "trained_rows.parquet")
    assert sorted(rows["row_id"]) == sorted(row["row_id"] for row in toy_rows(14))
    assert rows["order"].to_list() == list(range(14))
    assert rows["supervised_tokens"].sum() == ledger["per_epoch"]["supervised_tokens"]


def test_the_same_run_is_not_made_twice(toy):
    dataset, project = gated(toy), toy.project(**SMALL)
    first = train(project, dataset, SilentView())
    view = Lines()
    again = train(project, dataset, view)
    assert (first.reused, again.reused) == (False, True)
    assert again.folder == first.folder
    assert view.lines == []


def test_a_subset_is_chosen_by_label(toy):
    finished = train(
        toy.project(**SMALL | {"max_examples": 7, "epochs": 1}), gated(toy, train=toy_rows(21)), SilentView()
    )
    ledger = json.loads((finished.folder / "ledger.json").read_text("utf-8"))
    assert (ledger["rows_in"], ledger["rows_not_chosen"]) == (21, 14)
    assert ledger["labels"] in ({"no": 2, "yes": 5}, {"no": 3, "yes": 4})


def test_a_dataset_without_validation_rows_trains_unwatched(toy):
    finished = train(toy.project(**SMALL | {"epochs": 1}), gated(toy, validation=[]), SilentView())
    assert "held_out_loss" not in (finished.folder / "metrics.jsonl").read_text()


def tokens(count: int) -> list[Example]:
    return [Example(0, (Supervised([0] * count, [False] * count, 0, (), True),))]


@pytest.mark.parametrize(
    ("steps", "trained", "sample", "expected"),
    [
        (50, 32_000, 0, set()),
        (50, 3_000, 1_700, {0, 50}),  # the base and the end, whatever they cost
        (50, 32_000, 1_700, {0, 50}),
        (72, 48_000, 1_700, {0, 24, 48, 72}),
        (3, 900_000, 1_700, {0, 1, 2, 3}),
    ],
)
def test_watching_costs_a_tenth_of_the_training_at_most(steps, trained, sample, expected):
    assert watch_steps(TrainConfig(), steps, tokens(trained), tokens(sample)) == expected


# ---------------------------------------------------------------------------------------------------- stop and go


@pytest.fixture(scope="module")
def uninterrupted(tiny_model_folder, tmp_path_factory):
    """The project, its dataset, and what a run without a stop publishes."""
    toy = ToyProject(tmp_path_factory.mktemp("whole"), tiny_model_folder)
    project, dataset = toy.project(**SMALL), gated(toy)
    return project, dataset, contents(train(project, dataset, SilentView()).folder)


def elsewhere(project, folder: Path):
    """The same project with results in another folder, the data verdict included."""
    target = folder / "gate-data"
    if not target.exists():
        import shutil

        shutil.copytree(project.runs / "gate-data", target)
    return dataclasses.replace(project, out=folder)


@pytest.mark.parametrize("stop", [1, 4, 8])
def test_a_stopped_run_goes_on_and_ends_with_the_same_bytes(uninterrupted, tmp_path, capsys, stop):
    project, dataset, expected = uninterrupted
    project = elsewhere(project, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train(project, dataset, StopAt(stop))
    # The view hears of a step before the step's checkpoint is written.
    kept = (stop - 1) // 3 * 3
    message = f"goes on after step {kept}" if kept else "before its first checkpoint"
    assert message in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "train").glob("*") if path.suffix != ".partial"] == []
    view = Lines()
    finished = train(project, dataset, view)
    assert view.lines[: bool(kept)] == ([f"resuming after step {kept} of 8"] if kept else [])
    assert contents(finished.folder) == expected
    assert list((tmp_path / "train").glob("*.partial")) == []


def test_a_run_killed_between_training_and_publishing_goes_on(uninterrupted, tmp_path, monkeypatch):
    project, dataset, expected = uninterrupted
    project = elsewhere(project, tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(adapter, "publish_adapter", lambda *arguments: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(project, dataset, SilentView())
    view = Lines()
    assert contents(train(project, dataset, view).folder) == expected
    assert view.lines[0] == "resuming after step 8 of 8"


def test_a_damaged_checkpoint_is_not_resumed_from(uninterrupted, tmp_path):
    project, dataset, expected = uninterrupted
    project = elsewhere(project, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        train(project, dataset, StopAt(5))
    (moments,) = (tmp_path / "train").rglob("optimizer.pt")
    moments.write_bytes(moments.read_bytes()[:-1])
    view = Lines()
    assert contents(train(project, dataset, view).folder) == expected
    assert not any("resuming" in line for line in view.lines)


def test_a_run_that_diverged_keeps_nothing(toy, monkeypatch):
    original = sft.supervised_nll
    monkeypatch.setattr(sft, "supervised_nll", lambda *given: (original(*given)[0] * float("nan"), original(*given)[1]))
    with pytest.raises(UserError, match="training diverged"):
        train(toy.project(**SMALL), gated(toy, validation=[]), SilentView())
    assert list((toy.root / "runs" / "train").iterdir()) == []


def test_a_full_disk_keeps_the_last_checkpoint(uninterrupted, tmp_path, monkeypatch):
    project, dataset, expected = uninterrupted
    project = elsewhere(project, tmp_path)
    full = disk_error(tmp_path, OSError(errno.ENOSPC, "No space left on device"))
    with monkeypatch.context() as patch:
        patch.setattr(adapter, "publish_adapter", lambda *arguments: (_ for _ in ()).throw(full))
        with pytest.raises(UserError, match="disk is full"):
            train(project, dataset, SilentView())
    view = Lines()
    assert contents(train(project, dataset, view).folder) == expected
    assert view.lines[0] == "resuming after step 8 of 8"


def test_weights_that_cannot_be_loaded_leave_nothing_behind(toy, tmp_path):
    toy.model = shutil.copytree(toy.model, tmp_path / "model")
    (toy.model / "model.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="weights cannot be loaded"):
        train(toy.project(**SMALL), gated(toy), SilentView())
    assert list((toy.root / "runs" / "train").iterdir()) == []


@pytest.mark.slow
def test_a_killed_process_leaves_what_the_next_one_needs(uninterrupted, tmp_path):
    project, dataset, expected = uninterrupted
    project = elsewhere(project, tmp_path)
    code = (
        "import os, signal, sys; from pathlib import Path; from curate.configfile import load_project\n"
        "from train.monitor import SilentView; from train.run import train\n"
        "class View(SilentView):\n"
        "    def advance(self, step, tokens, loss):\n"
        "        if step == 5: os.kill(os.getpid(), signal.SIGKILL)\n"
        "project = load_project(Path(sys.argv[1]), out=Path(sys.argv[2]))\n"
        "train(project, Path(sys.argv[3]), View())\n"
    )
    words = [sys.executable, "-c", code, str(project.path), str(tmp_path), str(dataset)]
    done = subprocess.run(words, cwd=Path(run.__file__).parents[1], check=False, env=dict(os.environ))
    assert done.returncode == -signal.SIGKILL
    view = Lines()
    assert contents(train(project, dataset, view).folder) == expected
    assert view.lines[0] == "resuming after step 3 of 8"


# ------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.usefixtures("no_weights")
class TestRefusedBeforeWeightsAreLoaded:
    def test_a_dataset_that_was_changed(self, toy):
        dataset = gated(toy)
        path = dataset.parent / "data" / "train.jsonl"
        path.write_text(path.read_text().replace("good", "g00d", 1))
        with pytest.raises(ManifestError, match="do not match"):
            train(toy.project(), dataset, SilentView())

    def test_a_manifest_of_another_stage(self, toy):
        verdict = toy.verdict(toy.dataset())
        with pytest.raises(ManifestError, match="of another stage"):
            train(toy.project(), verdict.path, SilentView())

    @pytest.mark.parametrize("outcome", [None, Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.STALE])
    def test_data_that_did_not_pass_its_gate(self, toy, outcome):
        dataset = toy.dataset()
        if outcome is not None:
            toy.verdict(dataset, outcome)
        with pytest.raises(UserError, match="has not passed the data gate") as caught:
            train(toy.project(), dataset.path, SilentView())
        assert f"verdict {'missing' if outcome is None else outcome}" in caught.value.problems[0].found
        assert "--allow-ungated" in caught.value.problems[0].help

    def test_a_verdict_that_was_changed(self, toy):
        dataset = toy.dataset()
        verdict = toy.verdict(dataset, Outcome.FAIL)
        path = verdict.folder / "verdict.json"
        path.write_text(path.read_text().replace('"fail"', '"pass"'))
        with pytest.raises(ManifestError, match="do not match"):
            train(toy.project(), dataset.path, SilentView())

    def test_a_verdict_on_other_data(self, toy):
        gated(toy)
        other = toy.dataset(extra=toy_rows(2))
        assert find_data_verdict(toy.root / "runs", other.path) is None
        with pytest.raises(UserError, match="has not passed"):
            train(toy.project(), other.path, SilentView())

    def test_modules_that_the_model_does_not_have(self, toy):
        with pytest.raises(UserError, match="no such modules"):
            train(toy.project(lora={"target_modules": ["c_attn"]}), gated(toy), SilentView())

    def test_rows_longer_than_the_model_reads(self, toy):
        with pytest.raises(UserError, match="longer than the base model can read"):
            train(toy.project(max_length=513), gated(toy), SilentView())

    def test_an_empty_split(self, toy):
        with pytest.raises(UserError, match="train split is empty"):
            train(toy.project(), gated(toy, train=[]), SilentView())

    def test_rows_without_a_supervised_token(self, toy):
        rows = toy_rows(4)
        rows[2]["messages"] = rows[2]["messages"][:1]
        with pytest.raises(UserError, match="1 of 4 rows of the train split cannot be trained") as caught:
            train(toy.project(), gated(toy, train=rows), SilentView())
        assert caught.value.problems[1].where == "rows.jsonl:3"

    def test_a_base_model_without_chat_template(self, toy, tmp_path, tiny_model_folder):
        shutil.copytree(tiny_model_folder, tmp_path / "bare")
        path = tmp_path / "bare" / "tokenizer_config.json"
        settings = json.loads(path.read_text())
        del settings["chat_template"]
        path.write_text(json.dumps(settings))
        with pytest.raises(UserError, match="has no chat template"):
            train(toy.project(base_model=str(tmp_path / "bare")), gated(toy), SilentView())

    def test_a_tokenizer_with_more_tokens_than_the_model(self, toy, tmp_path):
        toy.model = shutil.copytree(toy.model, tmp_path / "small")
        path = toy.model / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"vocab_size": 100}))
        with pytest.raises(UserError, match="tokens that the base model does not know"):
            train(toy.project(), gated(toy), SilentView())

    def test_a_base_model_that_is_not_there(self, toy):
        with pytest.raises(UserError, match="no base model in this folder"):
            train(toy.project(base_model="./gone"), gated(toy), SilentView())

    def test_nothing_is_left_behind(self, toy):
        with pytest.raises(UserError):
            train(toy.project(lora={"last_layers": 9}), gated(toy), SilentView())
        assert not (toy.root / "runs" / "train").exists()


def test_ungated_data_is_trained_on_demand_and_the_manifest_says_so(toy):
    project, dataset = toy.project(**SMALL | {"epochs": 1}), toy.dataset()
    missing = train(project, dataset.path, SilentView(), allow_ungated=True)
    assert missing.manifest.provenance.notes == ("ungated: trained with --allow-ungated, data verdict missing",)
    assert "data_verdict" not in {ref.role for ref in missing.manifest.inputs}

    toy.verdict(dataset, Outcome.FAIL)
    failed = train(project, dataset.path, SilentView(), allow_ungated=True)
    assert failed.manifest.provenance.notes == ("ungated: trained with --allow-ungated, data verdict fail",)
    assert "data_verdict" in {ref.role for ref in failed.manifest.inputs}
    assert (
        contents(failed.folder)["adapter/adapter_model.safetensors"]
        == contents(missing.folder)["adapter/adapter_model.safetensors"]
    )


def test_the_planner_finds_what_training_made(toy):
    project, dataset = toy.project(**SMALL | {"epochs": 1}), gated(toy)
    finished = train(project, dataset, SilentView())
    assert train_stage(project, dataset, find_data_verdict(project.runs, dataset)).folder == finished.folder
    other = toy.project(**SMALL | {"epochs": 1, "seed": 1})
    assert train_stage(other, dataset, find_data_verdict(project.runs, dataset)).folder != finished.folder


def test_a_later_pass_of_another_config_does_not_hide_this_configs_own_failure(toy):
    project, dataset = toy.project(), toy.dataset()
    passed = toy.verdict(dataset)
    assert data_verdict_of(project, dataset.path) == passed.path
    own = run_stage(data_gate_stage(project, dataset.path), lambda folder: {})
    assert data_verdict_of(project, dataset.path) == own.path


def test_the_newest_verdict_counts_and_unreadable_ones_do_not(toy):
    dataset = toy.dataset()
    runs = toy.root / "runs"
    passed, failed = toy.verdict(dataset), toy.verdict(dataset, Outcome.FAIL)
    newest = max((f.manifest.provenance.started, f.path) for f in (passed, failed))[1]
    assert find_data_verdict(runs, dataset.path) == newest
    newest.write_text("{")
    assert find_data_verdict(runs, dataset.path) == ({passed.path, failed.path} - {newest}).pop()
