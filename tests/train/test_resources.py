"""Parameters, memory by part and the batch that fits, without weights; and times from timed steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from peft import get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, GemmaConfig, GPTNeoXConfig, LlamaConfig, Qwen2Config

from curate.supervision import Supervised
from schemas.errors import UserError
from schemas.train_config import LoraSettings, TrainConfig
from train.adapter import lora_config
from train.calibration import fitted, timed_examples
from train.examples import Example
from train.resources import (
    PARTS,
    Device,
    StepModel,
    batch_shape,
    batches_of,
    fitting_batch,
    full_length_shape,
    longest_rows_shape,
    run_memory,
)
from train.rows import SplitRow
from train.shapes import ACTIVATIONS, LOGITS, BatchShape, LiveTensors
from train.trainer import Job

CPU = Device("cpu", on_gpu=False, dtype=torch.float32, free=1 << 34, overhead=1000)
SIZES: dict[str, Any] = {
    "vocab_size": 259,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 128,
}
ARCHITECTURES = {
    "llama": (LlamaConfig(**SIZES, num_key_value_heads=2), ["q_proj", "v_proj"]),
    "llama-untied": (LlamaConfig(**SIZES, tie_word_embeddings=False), ["down_proj"]),
    "qwen2": (Qwen2Config(**SIZES, num_key_value_heads=2), ["q_proj", "o_proj"]),
    "gemma": (GemmaConfig(**SIZES, num_key_value_heads=1, head_dim=8), ["gate_proj", "k_proj"]),
    "gpt-neox": (GPTNeoXConfig(**SIZES), ["query_key_value"]),
}


def example(length: int, answer: int, row: int = 0, sequences: int = 1) -> Example:
    supervised = [False] * (length - answer) + [True] * answer
    return Example(row, (Supervised(list(range(length)), supervised, 0, (), True),) * sequences)


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("method", ["sft", "full"])
def test_parameter_counts_are_those_of_the_loaded_model(name, method, tmp_path):
    config, targets = ARCHITECTURES[name]
    config.save_pretrained(tmp_path)
    run = TrainConfig(method=method, lora=LoraSettings(r=3, target_modules=targets))
    counts = StepModel(tmp_path, run, CPU).parameters
    real = AutoModelForCausalLM.from_config(AutoConfig.from_pretrained(tmp_path))
    assert counts.base == sum(weight.numel() for weight in real.parameters())
    if method == "full":
        assert (counts.trainable, counts.adapter) == (counts.base, {})
        return
    tuned = get_peft_model(real, lora_config(run.lora, real))
    assert counts.trainable == sum(weight.numel() for weight in tuned.parameters() if weight.requires_grad)
    assert sorted(counts.adapter) == sorted(targets)
    assert sum(counts.adapter.values()) == counts.trainable


def test_fixed_parts_follow_from_the_counts(tiny_model_folder):
    shape = BatchShape(2, 16, 4, 6)
    lora = StepModel(tiny_model_folder, TrainConfig(), CPU)
    counts, memory = lora.parameters, lora.memory(shape)
    buffers = memory.parts["weights"] - 4 * counts.base
    assert 0 <= buffers < 1000
    assert memory.parts["adapter"] == 4 * counts.trainable
    assert memory.parts["optimizer"] == 8 * counts.trainable
    assert set(memory.parts) == set(PARTS)
    assert memory.tensors == sum(memory.parts.values())
    assert memory.total > memory.tensors + CPU.overhead - 1
    full = StepModel(tiny_model_folder, TrainConfig(method="full"), CPU).memory(shape)
    assert full.parts["optimizer"] == 8 * counts.base
    assert full.parts["adapter"] == 0


def test_frozen_weights_in_bfloat16_take_half_and_the_adapter_stays_in_float32(tiny_model_folder):
    low = Device("gpu", on_gpu=True, dtype=torch.bfloat16, free=1 << 34, overhead=0)
    shape = BatchShape(2, 16, 4, 6)
    found = [StepModel(tiny_model_folder, TrainConfig(), device).memory(shape).parts for device in (CPU, low)]
    assert found[1]["weights"] < 0.52 * found[0]["weights"]
    assert found[1]["adapter"] == found[0]["adapter"]
    packed = StepModel(tiny_model_folder, TrainConfig(quantization="4bit"), low).memory(shape).parts
    assert packed["weights"] < found[1]["weights"]


@pytest.mark.parametrize("method", ["sft", "text", "full", "dpo", "kto", "reward", "grpo"])
def test_every_method_has_its_memory_and_checkpointing_saves_some(method, tiny_model_folder):
    given_ = {"rewards": [{"use": "exact_match"}], "batch_size": 4} if method == "grpo" else {}
    shape = BatchShape(4, 96, 16, 40)
    kept = StepModel(tiny_model_folder, TrainConfig(method=method, **given_), CPU).memory(shape)
    again = StepModel(tiny_model_folder, TrainConfig(method=method, gradient_checkpointing=True, **given_), CPU).memory(
        shape
    )
    assert again.parts["activations"] < kept.parts["activations"]
    assert kept.parts["activations"] > 4 * 96 * 32 * 4  # one hidden state at the least


@settings(max_examples=8)
@given(st.integers(1, 6), st.integers(8, 64), st.integers(1, 64), st.sampled_from(["sft", "dpo"]))
def test_memory_grows_with_rows_and_with_length(tiny_model_folder, rows, tokens, more, method):
    model = StepModel(tiny_model_folder, TrainConfig(method=method), CPU)
    small = model.memory(BatchShape(2 * rows, tokens, 4, 8 * rows)).total
    assert model.memory(BatchShape(2 * rows + 2, tokens, 4, 8 * rows + 8)).total > small
    assert model.memory(BatchShape(2 * rows, tokens + more, 4, 8 * rows)).total > small


def test_accumulated_gradients_are_there_while_the_next_batch_goes_forward(tiny_model_folder):
    shape = BatchShape(4, 96, 16, 40)
    once, twice = (
        StepModel(tiny_model_folder, TrainConfig(method="full", gradient_accumulation=batches), CPU).memory(shape)
        for batches in (1, 2)
    )
    assert twice.tensors > once.tensors


def test_live_tensors_are_counted_while_they_live():
    with LiveTensors(vocabulary=7, parameters=[]) as live:
        kept = torch.zeros(3, 5, device="meta")
        torch.zeros(100, 7, device="meta")
        del kept
    assert live.at_peak == {ACTIVATIONS: 3 * 5 * 4, LOGITS: 100 * 7 * 4}
    assert live.now.total() == 0


def test_a_model_whose_work_depends_on_the_data_is_refused(tiny_model_folder, monkeypatch):
    def unknown(*args, **kwargs):
        raise NotImplementedError("aten::nonzero: attempted to run this operator with Meta tensors")

    monkeypatch.setattr("train.resources.peak_of_step", unknown)
    with pytest.raises(UserError, match="cannot be computed from its shapes"):
        StepModel(tiny_model_folder, TrainConfig(), CPU).memory(BatchShape(1, 8, 1, 1))


def test_shapes_of_batches():
    examples = [example(10, 3), example(8, 2)]
    assert batch_shape(examples, TrainConfig()) == BatchShape(2, 10, 4, 5)
    assert batch_shape(examples, TrainConfig(packing=True)) == BatchShape(1, 18, 5, 5)
    pairs = [example(10, 3, sequences=2)]
    assert batch_shape(pairs, TrainConfig(method="dpo")) == BatchShape(2, 10, 3, 6)
    grpo = TrainConfig(method="grpo", rewards=[{"use": "exact_match"}], batch_size=8, generations=4, max_new_tokens=5)
    assert batch_shape(examples, grpo) == BatchShape(8, 15, 5, 40)
    assert full_length_shape(examples, TrainConfig(batch_size=3, max_length=36)) == BatchShape(3, 36, 10, 30)
    assert longest_rows_shape([example(9, 1), example(12, 1), example(3, 1)], TrainConfig(), 2).tokens == 12


def test_the_largest_batch_of_the_run_is_the_one_that_is_planned(tiny_model_folder):
    rows = [example(10 + k, 2, k) for k in range(40)]
    run = TrainConfig(batch_size=4)
    shape, memory = run_memory(StepModel(tiny_model_folder, run, CPU), rows, run)
    assert (shape.rows, shape.tokens) == (4, 49)
    assert memory.tensors > 0


@given(base=st.integers(0, 10**9), each=st.integers(1, 10**8), free=st.integers(0, 10**10), unit=st.integers(1, 4))
def test_the_fitting_batch_fits_and_the_next_does_not(base, each, free, unit):
    def need(size: int) -> int:
        return int(base + each * size + each * (size // 7))  # not quite a line

    found = fitting_batch(need, free, unit, most=1000)
    assert found % unit == 0
    assert found == 0 or need(found) <= free
    assert found + unit > 1000 or need(found + unit) > free


def test_a_fit_finds_what_made_the_seconds():
    steps = [[BatchShape(6, tokens, 1, 6)] for tokens in (40, 80, 160, 240, 40, 80)]
    seconds = np.array([0.2 + 1e-4 * s[0].padded_tokens + 1e-6 * s[0].padded_tokens * s[0].tokens for s in steps])
    found = fitted(steps, seconds)
    assert found.fixed == pytest.approx(0.2)
    assert found.per_token == pytest.approx(1e-4)
    assert found.per_pair == pytest.approx(1e-6)
    assert found.spread == pytest.approx(0.0, abs=1e-9)
    assert found.seconds([BatchShape(2, 100, 1, 1)]) == pytest.approx(0.2 + 0.02 + 0.02)


@given(st.lists(st.tuples(st.integers(8, 300), st.floats(0.01, 10)), min_size=1, max_size=8))
def test_no_step_ever_takes_less_than_nothing(timed):
    steps = [[BatchShape(2, tokens, 1, 2)] for tokens, _ in timed]
    found = fitted(steps, np.array([seconds for _, seconds in timed]))
    assert min(found.fixed, found.per_token, found.per_pair) >= 0.0
    assert found.seconds([BatchShape(2, 1000, 1, 2)]) > 0.0


def test_timed_batches_reach_from_short_to_long_and_make_whole_steps():
    rows = [example(10 + k, 2, k) for k in range(64)]
    chosen = timed_examples(rows, TrainConfig(batch_size=4, gradient_accumulation=2))
    assert len(chosen) % 8 == 0
    assert len(chosen) <= 32
    assert max(one.tokens for one in chosen) == 73
    assert min(one.tokens for one in chosen) < 25
    assert len(timed_examples(rows[:3], TrainConfig(batch_size=4))) == 3


def test_accumulated_batches_are_those_of_the_trainers_steps():
    settings = TrainConfig(batch_size=2, gradient_accumulation=3)
    rows = [SplitRow(str(k), None, k, "rows.jsonl", k, {}) for k in range(20)]
    examples = [
        Example(k, (Supervised([0] * (5 + 7 * k % 11), [True] * (5 + 7 * k % 11), 0, (), True),)) for k in range(20)
    ]
    job = Job(settings, Path(), Path(), 0, rows, examples, [], {}, frozenset())
    batches = batches_of(examples, settings, 0)
    for step in range(job.steps_per_epoch):
        planned = [rows[example.row].place for batch in batches[3 * step : 3 * step + 3] for example in batch]
        assert planned == job.rows_of_step(step + 1)
