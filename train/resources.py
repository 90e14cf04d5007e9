"""What a training run takes before it is started: parameters, memory by part, and the batch that fits.

Nothing here loads weights. The sizes of weights, adapter, gradients and optimiser follow from shapes; activations and
logits are those of a step on torch's meta device (`train/shapes.py`).
"""

from __future__ import annotations

import copy
import math
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from peft import get_peft_model
from transformers import AutoModelForSequenceClassification

from schemas.errors import UserError
from schemas.train_config import TrainConfig
from train import machine
from train.adapter import empty_model, lora_config, wants_bfloat16
from train.batches import epoch_order
from train.examples import Example
from train.shapes import (
    CAUSAL,
    EAGER,
    MASKED,
    BatchShape,
    peak_of_generation,
    peak_of_step,
)
from train.trainer import rows_per_step

PARTS = ("weights", "adapter", "gradients", "optimizer", "activations", "logits", "cache", "scratch")
OPTIMIZER_STATES = 2
"""Numbers that AdamW keeps for each trained one: the averages of the gradient and of its square."""
BYTES_4BIT = 0.5 + 1 / 64 + 4 / (64 * 256)
"""Of a weight in NF4: a byte of scale for each block of 64, whose own scale is a float32 for each 256 of them (double
quantisation, Dettmers et al. 2023, arXiv 2305.14314)."""
TENSOR_SLACK = 1.03
"""Allowance for what an allocator takes beyond the tensors; `benchmarks/plan_accuracy.py` compares the sum."""
SEQUENCES = {"dpo": 2, "reward": 2}
"""Sequences of a row, where it is not one."""
MOST_ROWS = 1 << 14


@dataclass(frozen=True)
class Parameters:
    """Counts of weights; tied ones count once."""

    base: int
    """Of the model that is trained, without the adapter."""
    trainable: int
    adapter: dict[str, int]
    """Target module -> weights of its adapters in all layers; for a reward model also `score`."""


@dataclass(frozen=True)
class Memory:
    """Bytes at the moment of a step when most are needed."""

    parts: dict[str, int]
    """One for each of `PARTS`."""
    overhead: int
    """Of the process without any tensor: Python, libraries, and on a GPU its context."""

    @property
    def tensors(self) -> int:
        """Bytes of all tensors."""
        return sum(self.parts.values())

    @property
    def total(self) -> int:
        """What the process, or the GPU, needs."""
        return int(self.tensors * TENSOR_SLACK) + self.overhead


@dataclass(frozen=True)
class Device:
    """Where training would run."""

    name: str
    on_gpu: bool
    dtype: torch.dtype
    free: int | None
    """Bytes that are free; null where the system does not say."""
    overhead: int
    """See `Memory`."""


def this_device(settings: TrainConfig) -> Device:
    """The GPU if there is one, else the CPU.

    On a GPU what is free lacks the context of this process already; on a CPU this process, with all of its libraries,
    shows what training holds beside tensors.
    """
    dtype = torch.bfloat16 if wants_bfloat16(settings) else torch.float32
    if torch.cuda.is_available():
        return Device(torch.cuda.get_device_name(), True, dtype, torch.cuda.mem_get_info()[0], 0)
    return Device("cpu", False, dtype, machine.memory()["available_bytes"], machine.resident_bytes() or 0)


class StepModel:
    """The model of a config without weights, to ask what a step of it takes."""

    def __init__(self, model_folder: Path, settings: TrainConfig, device: Device) -> None:
        """Build it.

        Raises:
            UserError: the architecture or the adapter's targets are not ones that can be trained.
        """
        self.settings, self.device = settings, device
        model: Any = empty_model(model_folder)
        if settings.method == "reward":
            model = _with_score(model)
        model.config._attn_implementation = _attention(settings)
        self.vocabulary = int(model.config.get_text_config().vocab_size)
        self._base = {name: weight for name, weight in model.named_parameters()}
        self._linear = _quantised_weights(model)
        self._cache_of_token = _cache_of_token(model.config.get_text_config())
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft asks for names that transformers renames
            self.model = _adapted(model, settings) if settings.method != "full" else model
            if settings.gradient_checkpointing:
                self.model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
                if settings.method != "full":
                    self.model.enable_input_require_grads()
        self.model.to(device.dtype)
        self.model.train()
        self._known: dict[BatchShape, Memory] = {}

    @property
    def parameters(self) -> Parameters:
        """Counts, by adapter."""
        by_target: Counter[str] = Counter()
        for name, weight in self.model.named_parameters():
            if weight.requires_grad and self.settings.method != "full":
                by_target[_target(name)] += weight.numel()
        base = sum(weight.numel() for name, weight in self._base.items() if _target(name) not in by_target)
        trainable = by_target.total() if self.settings.method != "full" else base
        return Parameters(base, trainable, dict(sorted(by_target.items())))

    def memory(self, shape: BatchShape) -> Memory:
        """Memory of a step on batches of one shape.

        Raises:
            UserError: the step cannot be computed from shapes alone.
        """
        if shape not in self._known:
            self._known[shape] = self._memory(shape)
        return self._known[shape]

    def _memory(self, shape: BatchShape) -> Memory:
        settings, counts = self.settings, self.parameters
        try:
            peak = peak_of_step(
                self.model,
                settings.method,
                replace(shape, compact=self.device.on_gpu),
                accumulated=settings.gradient_accumulation > 1,
                reference=settings.method == "full",
            )
        except (NotImplementedError, RuntimeError, TypeError, AttributeError) as error:
            raise UserError(
                "the memory of this model cannot be computed from its shapes",
                where="train.base_model",
                found=str(error).splitlines()[0][:200] if str(error) else type(error).__name__,
                help="its layers choose their work by the data, as a mixture of experts does; train a few rows",
            ) from error
        width = self._bytes_of_trained()
        fixed = {
            "weights": self._weights(),
            "adapter": 0 if settings.method == "full" else counts.trainable * width,
            "optimizer": OPTIMIZER_STATES * counts.trainable * width,
        }
        update = {"gradients": counts.trainable * width, "scratch": self._update_scratch(width)}
        phases = [dict(peak) | {"scratch": self._second_copies()}, update]
        if settings.method == "grpo":
            phases.append(self._generation(shape))
        most = max(phases, key=lambda parts: sum(parts.values()))
        return Memory({name: int({**fixed, **most}.get(name, 0)) for name in PARTS}, self.device.overhead)

    def _weights(self) -> int:
        size = self._bytes_of_trained() if self.settings.method == "full" else self.device.dtype.itemsize
        bytes_of = {name: weight.numel() * size for name, weight in self._base.items() if "score" not in name}
        if self.settings.quantization:
            bytes_of |= {name: math.ceil(numel * BYTES_4BIT) for name, numel in self._linear.items()}
        buffers = sum(buffer.numel() * buffer.element_size() for buffer in self.model.buffers())
        return int(sum(bytes_of.values()) + buffers)

    def _second_copies(self) -> int:
        """Weights in the type that is computed in, beside how they are kept.

        Packed ones are unpacked a layer at a time; autocast keeps its copies of those that are trained for backward.
        """
        size = self.device.dtype.itemsize
        if self.settings.quantization:
            return max(self._linear.values()) * size
        return sum(self._linear.values()) * size if self.settings.method == "full" and size < 4 else 0

    def _bytes_of_trained(self) -> int:
        """Trained weights, their gradients and AdamW's states are float32, but for TRL's adapters of packed weights."""
        return (torch.bfloat16 if self.settings.quantization else torch.float32).itemsize

    def _update_scratch(self, width: int) -> int:
        """AdamW's denominators: of all weights at once on a GPU, of one weight after the other elsewhere."""
        sizes = [weight.numel() * width for weight in self.model.parameters() if weight.requires_grad]
        return sum(sizes) if self.device.on_gpu else 2 * max(sizes)

    def _generation(self, shape: BatchShape) -> dict[str, int]:
        settings = self.settings
        rows = shape.rows * settings.gradient_accumulation
        prompt = max(shape.tokens - settings.max_new_tokens, 1)
        reading = peak_of_generation(self.model, rows, prompt)
        cache = rows * shape.tokens * self._cache_of_token * self.device.dtype.itemsize
        return {**reading, "cache": cache}


def _with_score(model: Any) -> Any:
    config = copy.deepcopy(model.config)
    config.num_labels = 1
    with torch.device("meta"):
        return AutoModelForSequenceClassification.from_config(config, trust_remote_code=False)


def _adapted(model: Any, settings: TrainConfig) -> Any:
    return get_peft_model(model, lora_config(settings.lora, model), autocast_adapter_dtype=False)


def _attention(settings: TrainConfig) -> str:
    if settings.attention == "eager":
        return EAGER
    return MASKED if settings.packing or settings.method in ("dpo", "kto", "grpo", "reward") else CAUSAL


def _quantised_weights(model: Any) -> dict[str, int]:
    """Weights that 4-bit quantisation packs: those of linear layers, but for the output head."""
    head = model.get_output_embeddings()
    return {
        f"{name}.weight": module.weight.numel()
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    }


def _cache_of_token(config: Any) -> int:
    """Numbers that generation keeps for each token: keys and values of every layer."""
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    width = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    return int(2 * config.num_hidden_layers * heads * width)


def _target(name: str) -> str:
    """`q_proj` of `...q_proj.lora_A.default.weight`; `score` of the head of a reward model."""
    names = name.split(".")
    place = next((k for k, part in enumerate(names) if part.startswith("lora_")), None)
    return names[place - 1] if place else "score" if "score" in names else name


# ------------------------------------------------------------------------------------------------- batches of a run


def batch_shape(examples: Sequence[Example], settings: TrainConfig) -> BatchShape:
    """The shape of one batch of examples."""
    sequences = [sequence for example in examples for sequence in example.sequences]
    supervised = [[k for k, counted in enumerate(sequence.supervised) if counted and k] for sequence in sequences]
    tokens = sum(map(len, supervised))
    longest = max(len(sequence.input_ids) for sequence in sequences)
    if settings.method == "grpo":
        new, answers = settings.max_new_tokens, settings.generations * len(sequences)
        return BatchShape(answers, longest + new, new, new * answers)
    if settings.packing:
        return BatchShape(1, sum(len(sequence.input_ids) for sequence in sequences), tokens, tokens)
    return BatchShape(len(sequences), longest, len(set().union(*supervised)), tokens)


def batches_of(examples: Sequence[Example], settings: TrainConfig, epoch: int) -> list[list[Example]]:
    """The batches of an epoch, in the order in which the trainer visits them."""
    size = examples_in_batch(settings)
    order = epoch_order([example.tokens for example in examples], rows_per_step(settings), settings.seed, epoch)
    return [[examples[k] for k in order[start : start + size]] for start in range(0, len(order), size)]


def examples_in_batch(settings: TrainConfig) -> int:
    """Rows of one batch of one process; for GRPO, whose batch counts answers, prompts."""
    return settings.batch_size // settings.generations if settings.method == "grpo" else settings.batch_size


def largest_shapes(shapes: Iterable[BatchShape]) -> list[BatchShape]:
    """Those that may need most memory: with the most padded tokens, and with the most logits."""
    known = list(shapes)
    return list(
        {
            max(known, key=lambda shape: (shape.padded_tokens, shape.rows * shape.columns)),
            max(known, key=lambda shape: (shape.rows * shape.columns, shape.padded_tokens)),
        }
    )


def run_memory(model: StepModel, examples: Sequence[Example], settings: TrainConfig) -> tuple[BatchShape, Memory]:
    """The batch of the first epoch that needs most memory, and how much."""
    shapes = largest_shapes(batch_shape(batch, settings) for batch in batches_of(examples, settings, 0))
    found = [(shape, model.memory(shape)) for shape in shapes]
    return max(found, key=lambda pair: pair[1].total)


def longest_rows_shape(examples: Sequence[Example], settings: TrainConfig, size: int) -> BatchShape:
    """The batch of the longest rows there are: every batch of this size fits if it does."""
    ordered = sorted(examples, key=lambda example: example.tokens, reverse=True)
    resized = settings.model_copy(update={"batch_size": size})
    return batch_shape(ordered[: examples_in_batch(resized)], resized)


def full_length_shape(examples: Sequence[Example], settings: TrainConfig) -> BatchShape:
    """A batch of rows of `max_length` tokens, with loss on as large a share of them as in the rows at hand."""
    rows = settings.batch_size * SEQUENCES.get(settings.method, 1)
    length = settings.max_length
    if settings.method == "grpo":
        return BatchShape(rows, length, settings.max_new_tokens, rows * settings.max_new_tokens)
    share = sum(example.supervised_tokens for example in examples) / sum(example.tokens for example in examples)
    each = max(1, math.ceil(length * share))
    if settings.packing:
        return BatchShape(1, rows * length, rows * each, rows * each)
    return BatchShape(rows, length, each, rows * each)


# -------------------------------------------------------------------------------------------------- batch that fits


def fitting_batch(need: Callable[[int], int], free: int, unit: int = 1, most: int | None = None) -> int:
    """The largest batch size that needs at most the free memory, in multiples of `unit`; 0 if none does.

    Args:
        need: bytes for a batch size; must not fall as the size grows.
        free: bytes.
        unit: batch sizes are multiples of it.
        most: rows that there are; a larger batch makes no sense.
    """
    if need(unit) > free:
        return 0
    fits, bytes_fitting = 1, need(unit)
    fails = max((most or MOST_ROWS) // unit, 1) + 1
    guess = 2
    while fails - fits > 1:
        guess = min(max(guess, fits + 1), fails - 1)
        bytes_guess = need(guess * unit)
        each = max((bytes_guess - bytes_fitting) // (guess - fits), 1)
        room = (free - bytes_fitting) // each  # on the line through both
        if bytes_guess > free:
            fails, guess = guess, fits + room
        else:
            fits, bytes_fitting, guess = guess, bytes_guess, fits + room
    return fits * unit
