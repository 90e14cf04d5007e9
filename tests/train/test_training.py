"""A training from start to end: what it writes, how it goes back, when it stops, which weights it ends with."""

import errno
import json
import math
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from transformers.trainer_utils import SchedulerType
from trl.trainer.sft_config import SFTConfig

from curate.load_supervisor import load_supervisor
from schemas.errors import AssayError, ExitCode, UserError
from schemas.train_config import TrainConfig
from tests.toy_project import toy_kind
from train import collate, trainer, watch
from train.adapter import load_weights
from train.checkpoints import latest, step_of
from train.examples import supervise
from train.methods import sft
from train.monitor import SilentView
from train.rows import SplitRow
from train.trainer import Job, settings_for
from train.training import train_model


def make_job(folder: Path, count: int = 8, held_out: int = 3, **train) -> Job:
    lora = {"r": 2, "last_layers": 2, "lora_dropout": train.pop("lora_dropout", 0.0)}
    steps = train.pop("watch_steps", {0, 2})
    config = TrainConfig(**({"lora": lora, "batch_size": 4, "epochs": 1} | train))
    supervisor = load_supervisor(folder, config.max_length)
    made = toy_kind(config.method, count + held_out)
    rows = [SplitRow(r["row_id"], None, k, "rows.jsonl", k + 1, r["record"]) for k, r in enumerate(made)]
    pool = supervise(supervisor, rows, config, "train")
    return Job(
        settings=config,
        root=folder,
        model_folder=folder,
        pad_token_id=supervisor.pad_token_id,
        rows=rows,
        examples=pool[:count],
        unseen=pool[count:],
        samples={"trained": range(3), "held_out": range(count, count + held_out)} if held_out else {},
        watch_steps=frozenset(steps),
    )


class Lines(SilentView):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def run(job: Job, folder: Path, view: SilentView | None = None):
    checkpoint = train_model(job, folder / "checkpoints", folder / "metrics.jsonl", view or SilentView())
    return checkpoint, [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def loss_of(model, job: Job, numbers) -> float:
    loss: float = sft.mean_loss(model, [job.pool[k].sequences[0] for k in numbers], job.pad_token_id)["loss"]
    return loss


def test_training_lowers_the_loss(tiny_model_folder, tmp_path):
    job = make_job(tiny_model_folder, count=12, epochs=8, learning_rate=3e-2, watch_steps={0, 24})
    base = load_weights(tiny_model_folder)
    before = loss_of(base, job, range(12))
    checkpoint, _ = run(job, tmp_path)
    tuned = PeftModel.from_pretrained(load_weights(tiny_model_folder), str(checkpoint))
    assert loss_of(tuned, job, range(12)) < before - 0.2


def test_metrics_have_one_record_a_step(tiny_model_folder, tmp_path):
    job = make_job(tiny_model_folder)
    base = load_weights(tiny_model_folder)
    held_out, trained = loss_of(base, job, job.samples["held_out"]), loss_of(base, job, range(3))
    _, (first, one, two) = run(job, tmp_path)
    assert (first["step"], first["held_out_loss"], first["trained_loss"]) == (0, held_out, trained)
    assert [one["step"], two["step"]] == [1, 2]
    assert "held_out_loss" not in one
    assert two["held_out_loss"] < held_out
    gains = trained - two["trained_loss"], held_out - two["held_out_loss"]
    assert two["gain_gap"] == pytest.approx(gains[0] - gains[1])
    assert one["supervised_tokens"] + two["supervised_tokens"] == sum(e.supervised_tokens for e in job.examples)
    assert one["tokens"] + two["tokens"] == sum(e.tokens for e in job.examples)
    assert (one["epoch"], two["epoch"]) == (0.5, 1.0)
    assert all(math.isfinite(record["grad_norm"]) and record["learning_rate"] == 1e-3 for record in (one, two))


def test_the_first_step_has_the_loss_of_the_untouched_model(tiny_model_folder, tmp_path):
    job = make_job(tiny_model_folder, count=4, held_out=0)
    expected = loss_of(load_weights(tiny_model_folder), job, range(4))
    _, (record,) = run(job, tmp_path)
    assert record["loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("packing", [False, True])
def test_accumulated_and_packed_batches_learn_as_one_batch_does(tiny_model_folder, tmp_path, packing):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    _, whole = run(make_job(tiny_model_folder, held_out=0, batch_size=8, epochs=3), tmp_path / "a")
    parts = {"batch_size": 4, "gradient_accumulation": 2} if not packing else {"batch_size": 8, "packing": True}
    _, other = run(make_job(tiny_model_folder, held_out=0, epochs=3, **parts), tmp_path / "b")
    assert [one["loss"] for one in other] == pytest.approx([one["loss"] for one in whole], rel=1e-4)
    assert [one["tokens"] for one in other] == [one["tokens"] for one in whole]


# ------------------------------------------------------------------------------------------------ the way back


def poison(monkeypatch, at: int, times: int = 1, factor: float = float("nan")) -> None:
    """Spoil the loss of the `at`-th forward pass, and of as many after it."""
    original, calls = sft.supervised_nll, [0]

    def poisoned(model, inputs):
        nll, sums = original(model, inputs)
        if not torch.is_grad_enabled():
            return nll, sums
        calls[0] += 1
        if at <= calls[0] < at + times:
            return nll * factor, {**sums, "nll": sums["nll"] * factor}
        return nll, sums

    monkeypatch.setattr(sft, "supervised_nll", poisoned)


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_stops_the_run(tiny_model_folder, tmp_path, monkeypatch, factor):
    job = make_job(tiny_model_folder, held_out=0, checkpoint_steps=1)
    poison(monkeypatch, at=1, times=99, factor=factor)
    with pytest.raises(UserError, match="training diverged") as caught:
        run(job, tmp_path)
    (problem,) = caught.value.problems
    assert problem.where.startswith("optimiser step 1; its rows: rows.jsonl:")
    assert "3 ways back" in problem.found
    assert "learning_rate" in problem.help
    assert list((tmp_path / "checkpoints").glob("checkpoint-*")) == []


def test_a_gradient_that_is_no_number_stops_the_run(tiny_model_folder, tmp_path, monkeypatch):
    original = sft.supervised_nll

    def poisoned(model, inputs):
        nll, sums = original(model, inputs)
        return nll * float("nan"), sums

    monkeypatch.setattr(sft, "supervised_nll", poisoned)
    with pytest.raises(UserError, match="training diverged") as caught:
        run(make_job(tiny_model_folder, held_out=0, guard={"rollbacks": 0}), tmp_path)
    assert caught.value.problems[0].where.startswith("optimiser step 1")


def test_one_bad_step_sends_the_run_back_at_half_the_rate(tiny_model_folder, tmp_path, monkeypatch):
    job = make_job(tiny_model_folder, held_out=0, checkpoint_steps=1, epochs=3)
    poison(monkeypatch, at=4)
    view = Lines()
    _, records = run(job, tmp_path, view)
    assert [one["step"] for one in records] == [1, 2, 3, 4, 5, 6]
    assert [one["learning_rate"] for one in records] == [1e-3] * 2 + [5e-4] * 4
    assert view.lines == [
        # The loss of step 4 is that of the weights after step 3: from there it would be the same at any rate.
        "step 4: a loss of nan; back to step 2 at 0.5 of the learning rate",
        "resuming after step 2 of 6",
    ]
    (made,) = json.loads((tmp_path / "checkpoints" / "rollbacks.json").read_text())
    assert (made["step"], made["back_to"]) == (4, 2)


def test_a_held_out_loss_that_is_no_number_stops_the_run(tiny_model_folder, tmp_path, monkeypatch):
    measured = {"loss": float("nan"), "accuracy": 0.0}
    monkeypatch.setattr(sft.SupervisedTrainer, "measure", lambda self, name: measured)
    with pytest.raises(UserError, match="training diverged") as caught:
        run(make_job(tiny_model_folder, guard={"rollbacks": 0}), tmp_path)
    assert caught.value.problems[0].found == "a trained loss of nan"


def test_a_lasting_spike_is_seen_and_one_outlier_is_not(tiny_model_folder, tmp_path, monkeypatch):
    guard = {"window": 4, "patience": 2, "rollbacks": 0}
    job = make_job(tiny_model_folder, held_out=0, epochs=4, guard=guard)
    with monkeypatch.context() as patch:
        poison(patch, at=6, times=1, factor=50.0)
        (tmp_path / "one").mkdir()
        assert len(run(job, tmp_path / "one")[1]) == 8
    poison(monkeypatch, at=6, times=9, factor=50.0)
    (tmp_path / "two").mkdir()
    with pytest.raises(UserError, match="training diverged") as caught:
        run(job, tmp_path / "two")
    assert caught.value.problems[0].where.startswith("optimiser step 7")
    assert "median of 4 steps" in caught.value.problems[0].found


def test_batches_that_are_hard_every_time_are_no_spike():
    usual, hard = 0.001, 2.6  # rows that can be answered, and rows of another length that cannot
    assert watch.spike_limit([usual] * 15 + [hard] * 5, 5.0) > 1.5 * hard
    assert watch.spike_limit([usual] * 19 + [hard], 5.0) < hard
    assert watch.spike_limit([hard] * 20, 5.0) == pytest.approx(5 * hard)
    assert watch.spike_limit([usual] * 20, 5.0) == pytest.approx(usual + watch.SPIKE_FLOOR)


def test_a_killed_run_goes_on_at_the_lowered_rate(tiny_model_folder, tmp_path):
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    watch.Rollbacks(folder / "rollbacks.json").add(3, 0, "a loss of nan")
    _, records = run(make_job(tiny_model_folder, held_out=0), tmp_path)
    assert [one["learning_rate"] for one in records] == [5e-4, 5e-4]


# ------------------------------------------------------------------------------------------- best and early


def scripted(monkeypatch, losses: list[float]) -> None:
    """Let the held-out loss take these values, one a measurement."""
    left = iter(losses)

    def measure(self, name):
        return {"loss": next(left) if name == "held_out" else 1.0, "accuracy": 0.0}

    monkeypatch.setattr(sft.SupervisedTrainer, "measure", measure)


def weights(checkpoint: Path) -> bytes:
    return next(checkpoint.glob("*model.safetensors")).read_bytes()


@pytest.mark.parametrize("method", ["sft", "full"])
def test_the_best_weights_are_published(tiny_model_folder, tmp_path, monkeypatch, method):
    given = {"method": method, "checkpoint_steps": 100, "epochs": 3, "watch_steps": {0, 2, 4, 6}}
    for name in ("whole", "part"):
        (tmp_path / name).mkdir()
    short = make_job(tiny_model_folder, held_out=0, method=method, checkpoint_steps=100, epochs=1)
    expected = weights(run(short, tmp_path / "part")[0])
    scripted(monkeypatch, [2.0, 1.0, 1.5, 1.2])
    view = Lines()
    published, _ = run(make_job(tiny_model_folder, keep="best", **given), tmp_path / "whole", view)
    assert weights(published) == expected
    assert view.lines[-1].startswith("publishing the weights after step 2")


def test_training_stops_once_the_held_out_loss_stalls_and_stays_stopped(tiny_model_folder, tmp_path, monkeypatch):
    scripted(monkeypatch, [2.0, 1.0, 1.5, 1.2, 0.1])
    job = make_job(tiny_model_folder, early_stopping=2, keep="best", epochs=5, watch_steps={0, 2, 4, 6, 8, 10})
    _, records = run(job, tmp_path)
    assert records[-1]["step"] == 6
    kept = sorted(step_of(path) for path in (tmp_path / "checkpoints").glob("checkpoint-*"))
    assert kept == [2, 4, 6]
    view = Lines()
    _, again = run(job, tmp_path, view)  # as after a kill before the result was published
    assert again == records
    assert view.lines[-1].startswith("publishing the weights after step 2")


def test_only_the_best_and_the_last_checkpoint_stay(tiny_model_folder, tmp_path, monkeypatch):
    scripted(monkeypatch, [2.0, 1.0, 1.5, 0.9, 1.0])
    job = make_job(tiny_model_folder, keep="best", epochs=4, checkpoint_steps=3, watch_steps={0, 2, 4, 6, 8})
    run(job, tmp_path)
    assert sorted(step_of(path) for path in (tmp_path / "checkpoints").glob("checkpoint-*")) == [6, 8]
    last = latest(tmp_path / "checkpoints")
    assert last is not None
    assert step_of(last) == 8


# --------------------------------------------------------------------------------------------------- faults


def test_a_trainer_that_lost_tokens_is_our_bug(tiny_model_folder, tmp_path, monkeypatch):
    original = collate.pad_batch

    def forgetful(rows, pad_token_id):
        batch = original(rows, pad_token_id)
        batch["labels"][batch["lengths"].argmax(), -1] = -100
        return batch

    monkeypatch.setattr(sft, "pad_batch", forgetful)
    with pytest.raises(AssayError, match="did not receive") as caught:
        run(make_job(tiny_model_folder), tmp_path)
    assert caught.value.exit_code == ExitCode.BUG
    assert not (tmp_path / "metrics.jsonl").read_bytes()


@pytest.mark.parametrize(
    "said",
    [
        "I/O error: No space left on device (os error 28)",
        "[enforce fail at inline_container.cc:672] . unexpected pos 22016 vs 21904",
        "PytorchStreamWriter failed writing file data/0: file write failed",
    ],
)
def test_a_full_disk_while_saving_is_an_oserror(tiny_model_folder, tmp_path, monkeypatch, said):
    def full(*arguments):
        raise RuntimeError(said)

    monkeypatch.setattr(trainer, "seal", full)
    with pytest.raises(OSError, match="No space left") as caught:
        run(make_job(tiny_model_folder), tmp_path)
    assert caught.value.errno == errno.ENOSPC


@pytest.mark.parametrize(
    ("error", "what", "advice"),
    [
        (torch.cuda.OutOfMemoryError("CUDA out of memory. Tried 2 GiB"), "memory does not suffice", "assay plan"),
        (RuntimeError("CUDA error: unspecified launch failure"), "the GPU was lost", "last checkpoint"),
    ],
)
def test_a_gpu_that_fails_is_named(tiny_model_folder, tmp_path, monkeypatch, error, what, advice):
    def failing(*arguments):
        raise error

    monkeypatch.setattr(sft, "supervised_nll", failing)
    with pytest.raises(UserError, match=what) as caught:
        run(make_job(tiny_model_folder), tmp_path)
    assert advice in caught.value.problems[0].help


def test_a_constant_schedule_with_warmup_warms_up(tmp_path):
    given = TrainConfig(), TrainConfig(warmup_steps=5), TrainConfig(schedule="cosine")
    made = [settings_for(SFTConfig, one, tmp_path) for one in given]
    names = [SchedulerType(settings.lr_scheduler_type).value for settings in made]
    assert names == ["constant", "constant_with_warmup", "cosine"]


def test_threads_follow_the_environment(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert trainer.thread_count() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "zero")
    assert trainer.thread_count() >= 1
