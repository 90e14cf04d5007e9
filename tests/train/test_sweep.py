"""A sweep on the tiny model: what it tries, what it gives up, whom it lets win, and that a stopped one goes on."""

import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import yaml
from click.testing import CliRunner

from curate.configfile import load_project
from schemas.errors import ExitCode, UserError
from schemas.sweep_results import SweepResults
from tests.toy_project import ToyProject, toy_kind, toy_rows
from tests.toy_sweep import SPACE, config_of, gated
from train import study
from train import sweep as stage
from train.cli import sweep as command
from train.cli import train as train_command
from train.monitor import SilentView
from train.run import train
from train.sweep import Pruned, TrialView, sweep
from train.validation_losses import mean_of, read_losses


def results_of(finished) -> Any:
    return SweepResults.model_validate_json((finished.folder / "sweep.json").read_bytes())


def contents(folder: Path) -> dict[str, bytes]:
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    del found["manifest.json"]
    return found


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """A model this small is trained fastest by one thread, by far so on a busy machine."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture(scope="module")
def whole(one_thread, tiny_model_folder, tmp_path_factory):
    """A config, its dataset, and the result of a sweep that nobody stopped."""
    toy = ToyProject(tmp_path_factory.mktemp("sweep"), tiny_model_folder)
    path, dataset = config_of(toy), gated(toy)
    return path, dataset, sweep(load_project(path), dataset, SilentView)


def elsewhere(path: Path, folder: Path):
    """The same project with results in another folder, the data verdict included."""
    (folder / "gate-data").symlink_to(path.parent / "runs" / "gate-data")
    return load_project(path, out=folder)


# --------------------------------------------------------------------------------------------------- what it makes


def test_the_winner_has_the_least_validation_loss_and_can_be_trained_by_its_settings(whole):
    path, dataset, finished = whole
    results = results_of(finished)
    assert [one.state for one in results.trials] == ["passed"] * 3
    assert results.trials[0].settings == {"learning_rate": 1e-3, "epochs": 1, "lora.target_modules": ["q_proj"]}
    losses = [one.validation_loss for one in results.trials]
    assert results.winner == losses.index(min(losses))
    winner = results.trials[results.winner]
    best = yaml.safe_load((finished.folder / "best.yaml").read_text("utf-8"))
    assert best["train"].pop("lora") == {"target_modules": winner.settings["lora.target_modules"]}
    assert best["train"] == {name: winner.settings[name] for name in ("learning_rate", "epochs")}
    overrides = [f"train.{name}={json.dumps(value)}" for name, value in winner.settings.items()]
    trained = train(load_project(path, overrides), dataset, SilentView())
    assert trained.reused
    assert trained.folder.relative_to(path.parent / "runs").as_posix() == winner.folder


def test_a_trial_is_what_training_alone_would_make(whole, tmp_path):
    path, dataset, finished = whole
    last = results_of(finished).trials[-1]
    overrides = [f"train.{name}={json.dumps(value)}" for name, value in last.settings.items()]
    (tmp_path / "gate-data").symlink_to(path.parent / "runs" / "gate-data")
    alone = train(load_project(path, overrides, tmp_path), dataset, SilentView())
    assert not alone.reused
    assert contents(alone.folder) == contents(path.parent / "runs" / last.folder)


def test_losses_are_those_of_the_published_weights_on_every_validation_row(whole):
    _, _, finished = whole
    results = results_of(finished)
    frames = [read_losses(finished.folder / "validation" / f"trial-{k:04d}.parquet") for k in range(3)]
    assert [sorted(frame["row_id"]) for frame in frames] == [sorted(row["row_id"] for row in toy_rows(24, "v"))] * 3
    for frame, trial in zip(frames, results.trials, strict=True):
        assert mean_of(frame) == trial.validation_loss
        assert mean_of(frame) == pytest.approx(np.average(frame["nll"] / frame["tokens"], weights=frame["tokens"]))
    assert (results.selection.rows, results.selection.components, results.selection.looks) == (24, 24, 3)
    assert results.selection.looks_while_training == sum(len(one.curve) for one in results.trials)
    assert results.selection.over_default is None or results.selection.over_default.over == 0


def test_the_sample_that_the_watch_measures_has_the_loss_that_the_sweep_measures(toy):
    path = config_of(toy, {"watch": {"rows": 24, "share": 1.0}}, trials=2)
    for trial in results_of(sweep(load_project(path), gated(toy), SilentView)).trials:
        assert min(loss for epochs, loss in trial.curve if epochs > 0) == pytest.approx(trial.validation_loss, rel=1e-5)


@pytest.mark.parametrize("method", ["text", "full"])
def test_other_methods_with_a_loss_of_tokens(toy, method):
    path = config_of(toy, {"method": method}, trials=2, space={"learning_rate": SPACE["learning_rate"]})
    rows = {"train": toy_kind(method, 8), "validation": toy_kind(method, 12, "v")}
    results = results_of(sweep(load_project(path), gated(toy, **rows), SilentView))
    assert [one.state for one in results.trials] == ["passed", "passed"]
    assert results.selection.rows == 12
    assert results.trials[0].validation_loss != results.trials[1].validation_loss


def test_weights_whose_loss_is_no_number_fail_their_trial(toy, monkeypatch):
    monkeypatch.setattr("train.validation_losses.mean_of", lambda losses: float("nan"))
    results = results_of(sweep(load_project(config_of(toy, trials=2)), gated(toy), SilentView))
    assert {(one.state, one.reason) for one in results.trials} == {
        ("failed", "the validation loss is no finite number")
    }
    assert results.winner is None


def test_an_equal_sweep_is_not_run_twice(whole, monkeypatch):
    path, dataset, finished = whole
    monkeypatch.setattr(stage, "train", None)
    again = sweep(load_project(path), dataset, SilentView)
    assert again.reused
    assert again.folder == finished.folder


def test_the_test_split_is_not_read(toy, monkeypatch):
    read: list[str] = []
    original = pl.read_parquet

    def reading(source, *given, **options):
        read.append(Path(source).name)
        return original(source, *given, **options)

    monkeypatch.setattr(pl, "read_parquet", reading)
    sweep(load_project(config_of(toy, trials=2)), gated(toy), SilentView)
    assert {"train.parquet", "validation.parquet"} <= set(read)
    assert "test.parquet" not in read


# -------------------------------------------------------------------------------------------------- stop and go


def stop_at(trial: int, step: int):
    """Views, of which that of a trial ends the process as Ctrl-C does, at a step."""
    made = []

    class View(SilentView):
        def begin(self, step: int, steps: int, tokens_left: int) -> None:
            made.append(self)

        def advance(self, at: int, tokens: int, loss: float) -> None:
            if (len(made), at) == (trial, step):
                raise KeyboardInterrupt

    return View


@pytest.mark.parametrize(("trial", "step"), [(1, 2), (2, 1)])
def test_a_stopped_sweep_goes_on_and_ends_with_the_same_bytes(whole, tmp_path, capsys, trial, step):
    path, dataset, finished = whole
    project = elsewhere(path, tmp_path)
    with pytest.raises(KeyboardInterrupt):
        sweep(project, dataset, stop_at(trial, step))
    assert f"{trial - 1} of 3 trials are finished" in capsys.readouterr().err
    (partial,) = (tmp_path / "sweep").glob("*.partial")
    with (partial / "study.jsonl").open("ab") as stream:
        stream.write(b'{"op_code":4,"stu')  # as a kill in the middle of a write leaves it
    (partial / "study.jsonl.lock").symlink_to("gone")
    again = sweep(project, dataset, SilentView)
    assert contents(again.folder) == contents(finished.folder)
    assert list((tmp_path / "sweep").glob("*.partial")) == []


@pytest.mark.slow
def test_a_killed_process_leaves_what_the_next_one_needs(whole, tmp_path):
    path, dataset, finished = whole
    project = elsewhere(path, tmp_path)
    code = (
        "import os, signal, sys; from pathlib import Path; from curate.configfile import load_project\n"
        "from train.monitor import SilentView; from train.sweep import sweep\n"
        "class View(SilentView):\n"
        "    begun = 0\n"
        "    def begin(self, step, steps, tokens_left): View.begun += 1\n"
        "    def advance(self, step, tokens, loss):\n"
        "        if (View.begun, step) == (2, 2): os.kill(os.getpid(), signal.SIGKILL)\n"
        "sweep(load_project(Path(sys.argv[1]), out=Path(sys.argv[2])), Path(sys.argv[3]), View)\n"
    )
    words = [sys.executable, "-c", code, str(path), str(tmp_path), str(dataset)]
    done = subprocess.run(words, cwd=Path(stage.__file__).parents[1], check=False, env=dict(os.environ))
    assert done.returncode == -signal.SIGKILL
    view = Counting()
    again = sweep(project, dataset, lambda: view)
    assert view.begun == 2
    assert contents(again.folder) == contents(finished.folder)


class Counting(SilentView):
    def __init__(self) -> None:
        self.begun = 0
        self.lines: list[str] = []

    def begin(self, step: int, steps: int, tokens_left: int) -> None:
        self.begun += 1

    def say(self, text: str) -> None:
        self.lines.append(text)


def test_a_full_disk_keeps_the_trials_before_it(whole, tmp_path, monkeypatch):
    path, dataset, finished = whole
    project, original = elsewhere(path, tmp_path), study.Search.add

    def full(self, trial, max_gain_gap):
        if trial.number == 1:
            raise OSError(28, "No space left on device")
        original(self, trial, max_gain_gap)

    with monkeypatch.context() as patch:
        patch.setattr(study.Search, "add", full)
        with pytest.raises(UserError, match="disk is full"):
            sweep(project, dataset, SilentView)
    view = Counting()
    assert contents(sweep(project, dataset, lambda: view).folder) == contents(finished.folder)
    assert view.begun == 1  # the second was trained before the disk was full


# ------------------------------------------------------------------------------------------- pruned, rejected, failed


def test_a_hopeless_trial_is_given_up_and_leaves_nothing(whole, tmp_path, monkeypatch):
    path, dataset, _ = whole
    project = elsewhere(path, tmp_path)
    monkeypatch.setattr(study.Search, "is_hopeless", lambda search, curve: len(search.trials()) == 1)
    view = Counting()
    results = results_of(sweep(project, dataset, lambda: view))
    assert [one.state for one in results.trials] == ["passed", "pruned", "passed"]
    assert results.trials[1].folder is None
    assert "above the median" in results.trials[1].reason
    kept = {one.folder for one in results.trials if one.folder}
    assert {path.relative_to(tmp_path).as_posix() for path in (tmp_path / "train").iterdir()} == kept
    assert any("trial 1: pruned" in line for line in view.lines)

    elsewhere_again = load_project(path, out=tmp_path / "again")
    (tmp_path / "again").mkdir()
    for name in ("gate-data", "train"):
        (tmp_path / "again" / name).symlink_to(path.parent / "runs" / name)
    # The same trial is pruned where its training was already there.
    assert results_of(sweep(elsewhere_again, dataset, SilentView)) == results


def test_a_view_prunes_with_what_a_killed_process_measured(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"step": 0, "held_out_loss": 2.0}\n{"step": 1, "loss": 1.0}\n{"step": 2, "held_out_loss": 1.5}\n')
    seen: list[list[tuple[float, float]]] = []

    def is_hopeless(curve):
        seen.append(list(curve))
        return len(curve) == 3

    view = TrialView(SilentView(), path, 2, is_hopeless)
    view.begin(2, 8, 100)
    with pytest.raises(Pruned):
        view.measured(4, {"held_out_loss": 1.4})
    assert seen == [[(0.0, 2.0), (0.5, 1.5), (1.0, 1.4)]]
    view.measured(8, {"held_out_loss": 1.4})  # paid for


def test_a_winner_that_learns_by_heart_is_rejected(toy, monkeypatch):
    project, dataset = load_project(config_of(toy)), gated(toy)
    original = stage.gain_gap_at
    plain = results_of(sweep(project, dataset, SilentView))
    best = plain.trials[plain.winner].folder
    monkeypatch.setattr(
        stage, "gain_gap_at", lambda path, step: 0.75 if path.parent.name in best else original(path, step)
    )
    again = load_project(project.path, ["sweep.prune=false"])
    results = results_of(sweep(again, dataset, SilentView))
    rejected = results.trials[plain.winner]
    assert (rejected.state, rejected.gain_gap) == ("rejected", 0.75)
    assert rejected.reason == "gain gap 0.750 above train.watch.max_gain_gap 0.5"
    passed = {one.validation_loss: one.number for one in results.trials if one.state == "passed"}
    assert results.winner == passed[min(passed)] != plain.winner
    assert results.trials[results.winner].validation_loss > rejected.validation_loss


def test_without_a_winner_it_is_inconclusive_and_says_what_to_do(toy, monkeypatch):
    path, dataset = config_of(toy, trials=2), gated(toy)
    monkeypatch.setattr(stage, "gain_gap_at", lambda path, step: 0.9)
    words = ["--config", str(path), "--dataset", str(dataset)]
    done = CliRunner().invoke(command, words, standalone_mode=False)
    assert done.return_value == ExitCode.INCONCLUSIVE
    assert "no winner" in done.stdout
    assert "sweep.space" in done.stdout
    assert not (Path(done.stdout.splitlines()[-1]).parent / "best.yaml").exists()


def test_a_trial_that_diverges_does_not_end_the_sweep(toy):
    space = {"learning_rate": {"choices": [1e-3, 1e30]}}
    path = config_of(toy, {"guard": {"rollbacks": 0}}, space=space, trials=3)
    results = results_of(sweep(load_project(path), gated(toy), SilentView))
    states = {one.settings["learning_rate"]: one.state for one in results.trials}
    assert states == {1e-3: "passed", 1e30: "failed"}
    assert results.winner == 0
    failed = next(one for one in results.trials if one.state == "failed")
    assert failed.reason.startswith("training")
    assert next(one for one in results.trials if one.same_as is not None).state in ("passed", "failed")
    assert results.selection.candidates == 1


# --------------------------------------------------------------------------------------------------- the command


def test_the_command_prints_trials_winner_and_how_to_train_it(whole):
    path, dataset, finished = whole
    words = ["--config", str(path), "--dataset", str(dataset)]
    done = CliRunner().invoke(command, words, standalone_mode=False)
    assert done.return_value == ExitCode.PASS
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["trial", "outcome", "validation", "loss", "gain", "gap", "settings"]
    assert "(train as the config has it)" in lines[1]
    assert "the test split was not read" in lines
    assert lines[-1] == str(finished.path)
    typed = shlex.split(next(line for line in lines if line.startswith("  assay train ")))
    trained = CliRunner().invoke(train_command, typed[2:], standalone_mode=False)
    assert "was trained before" in trained.stderr

    found = json.loads(CliRunner().invoke(command, [*words, "--format", "json"], standalone_mode=False).stdout)
    assert found["schema"] == "assay/sweep/1"
    assert (found["manifest"], found["reused"]) == (str(finished.path), True)
    assert len(found["trials"]) == 3
    assert found["selection"]["test_split"] == "not read"


def test_ungated_data_is_swept_on_demand_and_the_manifest_says_so(toy):
    project = load_project(config_of(toy, trials=2))
    finished = sweep(project, toy.dataset().path, SilentView, allow_ungated=True)
    assert finished.manifest.provenance.notes == ("ungated: trained with --allow-ungated, data verdict missing",)
