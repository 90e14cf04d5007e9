"""Base and tuned model as one loaded model: the adapter is switched on and off."""

from __future__ import annotations

import contextlib
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

MODELS = ("base", "tuned")


@dataclass(frozen=True)
class LoadedModels:
    """Base and tuned, sharing the base's weights."""

    model: Any
    """A peft model in evaluation mode."""
    tokenizer: Any
    device: str
    max_length: int
    """Most tokens that the base model reads."""

    @contextlib.contextmanager
    def acting_as(self, name: str) -> Iterator[None]:
        """The model computes as `base` (adapter off) or as `tuned` (adapter on)."""
        if name == "tuned":
            yield
            return
        with self.model.disable_adapter():
            yield


def load_models(base_folder: Path, adapter_folder: Path) -> LoadedModels:
    """Load the base model and put the adapter on it, in float32, on the GPU if there is one.

    Args:
        base_folder: the base model that the adapter was trained on.
        adapter_folder: `adapter_config.json` and `adapter_model.safetensors`.

    Raises:
        UserError: the adapter does not fit the base model.
    """
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()  # it warns of texts longer than the context before they are cut
    device = "cuda" if torch.cuda.is_available() else "cpu"
    base = load_weights(base_folder)
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
    tokenizer = AutoTokenizer.from_pretrained(base_folder)
    longest = getattr(base.config.get_text_config(), "max_position_embeddings", None)
    return LoadedModels(model.to(device).eval(), tokenizer, device, int(longest or 2048))
