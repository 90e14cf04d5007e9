"""The loss is the full model's loss on the supervised tokens; what the trainer receives is what was counted."""

import errno
import json
import math

import pytest
import torch
from torch.nn.functional import cross_entropy
from transformers.trainer_utils import SchedulerType

from curate.load_supervisor import load_supervisor
from curate.supervision import IGNORED
from schemas.errors import AssayError, ExitCode, UserError
from schemas.train_config import LoraSettings, TrainConfig
from tests.toy_project import toy_rows
from train import sft
from train.adapter import load_weights, lora_config
from train.monitor import SilentView
from train.sft import Job, Tally, mean_loss, pad_batch, supervised_nll, train_adapter, trainer_settings


def make_job(folder, count=8, held_out=3, **train) -> Job:
    lora = LoraSettings(r=2, last_layers=2, lora_dropout=train.pop("lora_dropout", 0.0))
    config = TrainConfig(**({"lora": lora, "batch_size": 4, "epochs": 1} | train))
    supervisor = load_supervisor(folder, config.max_length)
    rows = [supervisor.encode(row["messages"]) for row in toy_rows(count + held_out)]
    model = load_weights(folder)
    return Job(
        settings=config,
        model_folder=folder,
        model=model,
        lora=lora_config(config.lora, model),
        pad_token_id=supervisor.pad_token_id,
        rows=rows[:count],
        held_out=rows[count:],
        held_out_steps=frozenset({0, 2}),
    )


def as_batch(rows):
    return [{"input_ids": row.input_ids, "labels": row.labels} for row in rows]


def full_loss(model, rows) -> Tally:
    """The sum over rows of the loss from all logits, one row at a time, without padding."""
    total = Tally()
    for row in rows:
        logits = model(input_ids=torch.tensor([row.input_ids])).logits[0, :-1]
        labels = torch.tensor(row.labels[1:])
        total.nll += float(cross_entropy(logits, labels, ignore_index=IGNORED, reduction="sum"))
        total.supervised += int((labels != IGNORED).sum())
        total.correct += int((logits.argmax(-1) == labels).sum())
        total.tokens += len(row.input_ids)
    return total


def test_padding_is_on_the_right_and_carries_no_loss():
    batch = pad_batch(
        [{"input_ids": [5, 6, 7], "labels": [IGNORED, 6, 7]}, {"input_ids": [8], "labels": [IGNORED]}], pad_token_id=2
    )
    assert batch["input_ids"].tolist() == [[5, 6, 7], [8, 2, 2]]
    assert batch["labels"].tolist() == [[IGNORED, 6, 7], [IGNORED] * 3]
    assert batch["lengths"].tolist() == [3, 1]


def test_the_loss_of_a_padded_batch_is_the_loss_of_its_rows(tiny_model_folder):
    job = make_job(tiny_model_folder)
    with torch.no_grad():
        nll, tally = supervised_nll(job.model, pad_batch(as_batch(job.rows), job.pad_token_id))
        expected = full_loss(job.model, job.rows)
    assert float(nll) == pytest.approx(expected.nll, rel=1e-5)
    assert tally.nll == float(nll)
    assert (tally.supervised, tally.correct, tally.tokens) == (
        expected.supervised,
        expected.correct,
        sum(len(row.input_ids) for row in job.rows),
    )


def test_held_out_loss_leaves_mode_and_random_state_alone(tiny_model_folder):
    job = make_job(tiny_model_folder)
    job.model.train()
    state = torch.get_rng_state()
    measured = mean_loss(job.model, job.held_out, job.pad_token_id)
    with torch.no_grad():
        expected = full_loss(job.model.eval(), job.held_out)
    assert measured.loss == pytest.approx(expected.loss, rel=1e-5)
    assert torch.equal(torch.get_rng_state(), state)


def test_training_lowers_the_loss_and_only_adapts_the_adapter(tiny_model_folder, tmp_path):
    job = make_job(tiny_model_folder, count=12, epochs=8, learning_rate=3e-2)
    before = mean_loss(job.model, job.rows, job.pad_token_id).loss
    weights = {name: weight.clone() for name, weight in job.model.named_parameters()}
    tuned = train_adapter(job, tmp_path / "checkpoints", tmp_path / "metrics.jsonl", SilentView())
    assert mean_loss(tuned, job.rows, job.pad_token_id).loss < before - 0.2
    frozen = {name.replace("base_layer.", ""): w for name, w in tuned.get_base_model().named_parameters()}
    assert all(torch.equal(frozen[name], weight) for name, weight in weights.items())


def test_metrics_have_one_record_a_step(tiny_model_folder, tmp_path):
    job = make_job(tiny_model_folder, count=8)
    before = mean_loss(job.model, job.held_out, job.pad_token_id)
    train_adapter(job, tmp_path / "checkpoints", tmp_path / "metrics.jsonl", SilentView())
    first, one, two = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert first == {"step": 0, "held_out_loss": before.loss, "held_out_tokens": before.supervised}
    assert [one["step"], two["step"]] == [1, 2]
    assert "held_out_loss" not in one
    assert two["held_out_loss"] < before.loss
    assert one["supervised_tokens"] + two["supervised_tokens"] == sum(row.supervised_tokens for row in job.rows)
    assert one["tokens"] + two["tokens"] == sum(len(row.input_ids) for row in job.rows)
    assert (one["epoch"], two["epoch"]) == (0.5, 1.0)
    assert all(math.isfinite(record["grad_norm"]) and record["learning_rate"] == 1e-3 for record in (one, two))


def test_the_first_step_has_the_loss_of_the_untouched_model(tiny_model_folder, tmp_path):
    job = make_job(tiny_model_folder, count=4, held_out=0)
    with torch.no_grad():
        expected = full_loss(job.model, job.rows)
    train_adapter(job, tmp_path / "checkpoints", tmp_path / "metrics.jsonl", SilentView())
    (record,) = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert record["loss"] == pytest.approx(expected.loss, rel=1e-5)
    assert record["accuracy"] == expected.correct / expected.supervised


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_a_loss_that_is_no_number_stops_the_run(tiny_model_folder, tmp_path, monkeypatch, where):
    job = make_job(tiny_model_folder, held_out=0, checkpoint_steps=1)
    original = sft.supervised_nll

    def poisoned(model, inputs):
        nll, tally = original(model, inputs)
        if where == "loss":
            tally.nll = float("nan")
        return nll * float("nan"), tally

    monkeypatch.setattr(sft, "supervised_nll", poisoned)
    with pytest.raises(UserError, match="training diverged") as caught:
        train_adapter(job, tmp_path / "checkpoints", tmp_path / "metrics.jsonl", SilentView())
    assert caught.value.problems[0].where == "optimiser step 1"
    assert "learning_rate" in caught.value.problems[0].help
    assert list((tmp_path / "checkpoints").glob("checkpoint-*")) == []


def test_a_trainer_that_lost_tokens_is_our_bug(tiny_model_folder, tmp_path, monkeypatch):
    job = make_job(tiny_model_folder)
    original = sft.pad_batch

    def forgetful(rows, pad_token_id):
        batch = original(rows, pad_token_id)
        batch["labels"][batch["lengths"].argmax(), -1] = IGNORED
        return batch

    monkeypatch.setattr(sft, "pad_batch", forgetful)
    with pytest.raises(AssayError, match="did not receive") as caught:
        train_adapter(job, tmp_path / "checkpoints", tmp_path / "metrics.jsonl", SilentView())
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

    monkeypatch.setattr(sft, "seal", full)
    with pytest.raises(OSError, match="No space left") as caught:
        train_adapter(make_job(tiny_model_folder), tmp_path / "checkpoints", tmp_path / "metrics.jsonl", SilentView())
    assert caught.value.errno == errno.ENOSPC


def test_a_constant_schedule_with_warmup_warms_up(tmp_path):
    constant = trainer_settings(TrainConfig(schedule="constant"), tmp_path)
    warm = trainer_settings(TrainConfig(schedule="constant", warmup_steps=5), tmp_path)
    cosine = trainer_settings(TrainConfig(schedule="cosine", warmup_steps=5), tmp_path)
    names = [SchedulerType(settings.lr_scheduler_type).value for settings in (constant, warm, cosine)]
    assert names == ["constant", "constant_with_warmup", "cosine"]


def test_threads_follow_the_environment(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert sft.thread_count() == 3
    monkeypatch.setenv("OMP_NUM_THREADS", "zero")
    assert sft.thread_count() >= 1
