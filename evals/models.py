"""Base and tuned model as one loaded model: the adapter is switched on and off."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from transformers import AutoTokenizer
from transformers.utils import logging as transformers_logging

from schemas.errors import UserError
from train.adapter import load_weights
from train.machine import device_class
from train.run import ADAPTER, MODEL

MODELS = ("base", "tuned")
PACKAGES = ("lm_eval", "peft", "torch", "transformers")
"""Packages whose version can change an answer or its score."""


@dataclass(frozen=True)
class LoadedModels:
    """Base and tuned, sharing the base's weights."""

    model: Any
    """A peft model in evaluation mode."""
    tokenizer: Any
    device: str
    max_length: int
    """Most tokens that the base model reads."""
    full: Any = None
    """The fully fine-tuned model, where there is one instead of an adapter."""

    @property
    def engine(self) -> dict[str, Any]:
        """What computes, beside the weights: versions, dtype, kernels, device, and the most tokens that are read."""
        return {
            "engine": "transformers",
            "versions": {name: importlib.metadata.version(name) for name in PACKAGES},
            "dtype": str(self.model.dtype).removeprefix("torch."),
            "device": self.device,
            "attention": str(self.model.config._attn_implementation),
            "max_length": self.max_length,
        }

    @contextlib.contextmanager
    def acting_as(self, name: str) -> Iterator[None]:
        """The model computes as `base` or as `tuned`: the adapter is off or on, or all weights change places."""
        if self.full is not None:
            with self._exchanged() if name == "tuned" else contextlib.nullcontext():
                yield
        elif name == "tuned":
            yield
        else:
            with self.model.disable_adapter():
                yield

    @contextlib.contextmanager
    def _exchanged(self) -> Iterator[None]:
        self._exchange()
        try:
            yield
        finally:
            self._exchange()

    def _exchange(self) -> None:
        for one, other in zip(self.model.parameters(), self.full.parameters(), strict=True):
            one.data, other.data = other.data, one.data


def load_models(base_folder: Path, trained: Path, dtype: str = "float32") -> LoadedModels:
    """Load base and tuned model, on the GPU if there is one.

    Args:
        base_folder: the base model that was trained.
        trained: stage folder of training: an adapter, or of full fine-tuning a model.
        dtype: in what they compute.

    Raises:
        UserError: the adapter or model does not fit the base model, is quantised, or is one that gives scores instead
            of answers.
    """
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()  # it warns of texts longer than the context before they are cut
    device: Any = device_class()
    number: Any = getattr(torch, dtype)
    adapter_folder, full_folder = trained / ADAPTER, trained / MODEL
    for folder in (base_folder, full_folder):
        _refuse_quantised(folder)
    if full_folder.is_dir():
        base, full = load_weights(base_folder).to(number), load_weights(full_folder).to(number)
        _check_same_shapes(base, full, full_folder)
        return _loaded(base, base_folder, base, device, full.to(device).eval())
    _check_answers(adapter_folder)
    base = load_weights(base_folder).to(number)
    try:
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            model = PeftModel.from_pretrained(base, str(adapter_folder))
        missing = [str(one.message) for one in said if "missing" in str(one.message)]  # peft only warns of it
        if missing:
            raise ValueError(missing[0])
    except (ValueError, RuntimeError, KeyError, OSError) as error:
        raise UserError(
            "the adapter does not fit the base model",
            where=str(adapter_folder),
            found=str(error).strip()[:300],
            expected=f"an adapter that was trained on {base_folder.name}",
            help="name its base model in train.base_model",
        ) from error
    return _loaded(model, base_folder, base, device)


def _loaded(model: Any, base_folder: Path, base: Any, device: str, full: Any = None) -> LoadedModels:
    tokenizer = AutoTokenizer.from_pretrained(base_folder)
    longest = getattr(base.config.get_text_config(), "max_position_embeddings", None)
    return LoadedModels(model.to(device).eval(), tokenizer, device, int(longest or 2048), full)


def _check_same_shapes(base: Any, full: Any, folder: Path) -> None:
    shapes = [[tuple(weight.shape) for weight in model.parameters()] for model in (base, full)]
    if shapes[0] != shapes[1]:
        raise UserError(
            "the fine-tuned model does not fit the base model",
            where=str(folder),
            found=f"{len(shapes[1])} tensors of other shapes",
            expected=f"the {len(shapes[0])} tensors of the base model",
            help="name its base model in train.base_model",
        )


def _refuse_quantised(folder: Path) -> None:
    try:
        quantised = json.loads((folder / "config.json").read_bytes()).get("quantization_config")
    except (OSError, ValueError, AttributeError):
        return  # the library names what is wrong with it
    if quantised:
        method = quantised.get("quant_method") if isinstance(quantised, dict) else None
        raise UserError(
            "a quantised model cannot be measured in this process",
            where=str(folder / "config.json"),
            found=f"quantization_config, method {method!r}",
            expected="weights in full or half precision",
            help="evaluate the model that it was made from, or serve this one and name the server in evals.backend",
        )


def _check_answers(adapter_folder: Path) -> None:
    try:
        kind = json.loads((adapter_folder / "adapter_config.json").read_text("utf-8")).get("task_type")
    except (OSError, ValueError):
        return  # peft names what is wrong with it
    if kind == "SEQ_CLS":
        raise UserError(
            "a reward model gives scores and no answers, so there is nothing to ask it",
            where=str(adapter_folder),
            found="an adapter of method reward",
            expected="an adapter that answers",
            help="its accuracy on held-out pairs is in metrics.jsonl of the training run",
        )
