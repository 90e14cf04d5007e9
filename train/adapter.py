"""The LoRA adapter: its settings in peft's terms, checks that need no weights, and files that plain peft reads."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel
from transformers.utils.logging import disable_progress_bar

from schemas.atomic import write_atomic
from schemas.errors import UserError
from schemas.train_config import LoraSettings

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


class TrainingDiverged(UserError):
    """A loss, a gradient or a weight is no number; the same training would end there again."""


def load_weights(model_folder: Path) -> PreTrainedModel:
    """Load a base model in float32, which is what CPUs without bf16 units are fast in.

    Raises:
        UserError: a weight file is broken, or weights are missing or of other shapes than the model's config says.
    """
    disable_progress_bar()
    try:
        loaded: Any = AutoModelForCausalLM.from_pretrained(
            model_folder, dtype=torch.float32, trust_remote_code=False, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise _unreadable_weights(model_folder, str(error).strip().splitlines()[0][:200]) from error
    model, report = loaded
    missing = sorted(report["missing_keys"])  # transformers would make random ones up
    if missing:
        raise _unreadable_weights(model_folder, f"no weights for {len(missing)} tensors, the first is {missing[0]}")
    assert isinstance(model, PreTrainedModel)
    return model


def _unreadable_weights(model_folder: Path, found: str) -> UserError:
    return UserError(
        "the base model's weights cannot be loaded",
        where=str(model_folder),
        found=found,
        expected="safetensors with every weight that config.json describes",
        help="copy or fetch the model again; an interrupted download leaves such files",
    )


def empty_model(model_folder: Path) -> PreTrainedModel:
    """The base model without weights: names and shapes only, on torch's meta device.

    Raises:
        UserError: the architecture is not one that transformers has, or needs code from the hub.
    """
    try:
        config = AutoConfig.from_pretrained(model_folder, trust_remote_code=False)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config, trust_remote_code=False)
    except (ValueError, KeyError, OSError) as error:
        raise UserError(
            "the base model's architecture cannot be built",
            where=str(model_folder / "config.json"),
            found=str(error).splitlines()[0][:200],
            expected="a causal language model that transformers has; code that comes with a model is never run",
            help="use another base model, or a newer transformers",
        ) from error
    assert isinstance(model, PreTrainedModel)
    return model


def lora_config(settings: LoraSettings, model: PreTrainedModel) -> LoraConfig:
    """The adapter's settings for one base model.

    Args:
        settings: `train.lora` of the config.
        model: the base model; it may be without weights.

    Raises:
        UserError: a target module does not exist or cannot be adapted, or there are fewer layers than `last_layers`.
    """
    layers = int(model.config.get_text_config().num_hidden_layers)
    if settings.last_layers is not None and settings.last_layers > layers:
        raise UserError(
            "the base model has fewer layers than are to be adapted",
            where="train.lora.last_layers",
            found=str(settings.last_layers),
            expected=f"at most {layers}, or null for all",
        )
    _check_targets(settings.target_modules, model)
    chosen = None if settings.last_layers is None else list(range(layers - settings.last_layers, layers))
    return LoraConfig(
        r=settings.r,
        lora_alpha=settings.lora_alpha,
        lora_dropout=settings.lora_dropout,
        target_modules=list(settings.target_modules),
        layers_to_transform=chosen,
        bias="none",
        task_type="CAUSAL_LM",
    )


def _check_targets(targets: list[str], model: PreTrainedModel) -> None:
    head = model.get_output_embeddings()
    linear = {
        name.rpartition(".")[2]
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear) and module is not head
    }
    unknown = sorted(set(targets) - linear)
    if unknown:
        raise UserError(
            "the base model has no such modules to adapt",
            where="train.lora.target_modules",
            found=", ".join(unknown),
            expected=f"some of {', '.join(sorted(linear))}",
            help="name linear layers inside the transformer blocks; the output head is not adapted",
        )


def save_adapter(model: PeftModel, folder: Path, base_model: str) -> None:
    """Write `adapter_config.json` and `adapter_model.safetensors`, the same bytes for the same adapter.

    Args:
        model: the trained model.
        folder: where to; it is made.
        base_model: how the config names the base model. peft would write the path on this machine instead.

    Raises:
        TrainingDiverged: a trained weight is not a finite number.
    """
    broken = [name for name, weight in model.named_parameters() if weight.requires_grad and not weight.isfinite().all()]
    if broken:
        raise TrainingDiverged(
            "training ended with weights that are not finite numbers; nothing was published",
            found=f"{len(broken)} tensors, the first is {broken[0]}",
            help="lower train.learning_rate",
        )
    raw = folder.with_name(folder.name + ".raw")
    model.save_pretrained(str(raw), save_embedding_layers=False)
    folder.mkdir(exist_ok=True)
    settings: dict[str, Any] = json.loads((raw / ADAPTER_FILES[0]).read_text("utf-8"))
    settings["base_model_name_or_path"] = base_model
    settings["target_modules"] = sorted(settings["target_modules"])  # a set in peft: its order differs between runs
    text = json.dumps(settings, indent=2, sort_keys=True)
    write_atomic(folder / ADAPTER_FILES[0], text.encode("utf-8") + b"\n")
    (raw / ADAPTER_FILES[1]).replace(folder / ADAPTER_FILES[1])
    shutil.rmtree(raw)
