"""The LoRA adapter: its settings in peft's terms, checks that need no weights, and files that plain peft reads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig
from safetensors import SafetensorError, safe_open
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BitsAndBytesConfig,
    PreTrainedModel,
)
from transformers.utils.logging import disable_progress_bar

from curate.model_files import CONFIG_FILES, TOKENIZER_FILES
from schemas.atomic import write_atomic
from schemas.errors import UserError
from schemas.train_config import LoraSettings, TrainConfig

INITS: dict[str, Any] = {"default": True, "gaussian": "gaussian", "orthogonal": "orthogonal"}
"""Our name -> peft's; with each of them the new adapter changes nothing, and the base weights stay as they are."""
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")


class TrainingDiverged(UserError):
    """A loss, a gradient or a weight is no number; the same training would end there again."""


def wants_bfloat16(settings: TrainConfig) -> bool:
    """Whether a run computes in bfloat16: as asked, else on GPUs that have it; CPUs without units for it are slower."""
    if settings.dtype == "auto":
        return torch.cuda.is_available() and torch.cuda.is_bf16_supported()
    return settings.dtype == "bfloat16"


def load_weights(model_folder: Path, settings: TrainConfig | None = None) -> PreTrainedModel:
    """Load a base model.

    Args:
        model_folder: config and safetensors.
        settings: of a training run; without them the model is loaded in float32, to be measured.

    Raises:
        UserError: a weight file is broken, or weights are missing or of other shapes than the model's config says.
    """
    return _load(AutoModelForCausalLM, model_folder, _loading(settings), made_up=())


def load_scorer(model_folder: Path, settings: TrainConfig | None, pad_token_id: int) -> PreTrainedModel:
    """Load a base model under a score head of one output, which is drawn at random.

    Args:
        model_folder: config and safetensors of the base model.
        settings: as in `load_weights`.
        pad_token_id: of the batches; the score is read before padding begins.

    Raises:
        UserError: as `load_weights`.
    """
    options = {**_loading(settings), "num_labels": 1, "pad_token_id": pad_token_id}
    return _load(AutoModelForSequenceClassification, model_folder, options, made_up=("score.weight",))


def _loading(settings: TrainConfig | None) -> dict[str, Any]:
    """How weights are loaded: type, attention kernel, quantisation."""
    if settings is None:
        return {"dtype": torch.float32}
    # Every weight that is trained needs a copy of full precision; autocast computes in bfloat16 all the same.
    low = wants_bfloat16(settings) and settings.method != "full"
    options: dict[str, Any] = {"dtype": torch.bfloat16 if low else torch.float32}
    if settings.attention != "auto":
        options["attn_implementation"] = settings.attention
    if settings.quantization == "4bit":
        options["quantization_config"] = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=options["dtype"],
        )
    return options


def _load(kind: Any, model_folder: Path, options: dict[str, Any], made_up: tuple[str, ...]) -> PreTrainedModel:
    disable_progress_bar()
    try:
        loaded: Any = kind.from_pretrained(model_folder, trust_remote_code=False, output_loading_info=True, **options)
    except (OSError, ValueError, KeyError, RuntimeError, ImportError, SafetensorError) as error:
        raise _unreadable_weights(model_folder, str(error).strip().splitlines()[0][:200]) from error
    model, report = loaded
    missing = sorted(set(report["missing_keys"]) - set(made_up))  # transformers would make random ones up
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
    if settings.init == "orthogonal" and settings.r % 2:
        raise UserError(
            "the adapter cannot start orthogonal at an odd rank",
            where="train.lora.r",
            found=str(settings.r),
            expected="an even number",
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
        use_rslora=settings.use_rslora,
        use_dora=settings.use_dora,
        init_lora_weights=INITS[settings.init],
        # A model that scores keeps its new head in the adapter.
        task_type="SEQ_CLS" if type(model).__name__.endswith("ForSequenceClassification") else "CAUSAL_LM",
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


def publish_adapter(checkpoint: Path, folder: Path, base_model: str) -> int:
    """Write `adapter_config.json` and `adapter_model.safetensors`, the same bytes for the same adapter.

    Args:
        checkpoint: folder that peft saved the adapter in.
        folder: where to; it is made.
        base_model: how the config names the base model. peft writes the path on this machine instead.

    Returns:
        Parameters of the adapter.

    Raises:
        TrainingDiverged: a trained weight is not a finite number.
    """
    size = _finite_size([checkpoint / ADAPTER_FILES[1]])
    settings: dict[str, Any] = json.loads((checkpoint / ADAPTER_FILES[0]).read_text("utf-8"))
    settings["base_model_name_or_path"] = base_model
    settings["target_modules"] = sorted(settings["target_modules"])  # a set in peft: its order differs between runs
    folder.mkdir(exist_ok=True)
    text = json.dumps(settings, indent=2, sort_keys=True)
    write_atomic(folder / ADAPTER_FILES[0], text.encode("utf-8") + b"\n")
    shutil.copyfile(checkpoint / ADAPTER_FILES[1], folder / ADAPTER_FILES[1])
    return size


def publish_full(checkpoint: Path, folder: Path, model_folder: Path) -> int:
    """Write every weight as safetensors, with the base model's tokenizer files, as a folder that transformers reads.

    Args:
        checkpoint: folder that transformers saved the model in.
        folder: where to; it is made.
        model_folder: of the base model.

    Returns:
        Parameters of the model, tied ones once.

    Raises:
        TrainingDiverged: a trained weight is not a finite number.
    """
    weights = sorted(checkpoint.glob("model*.safetensors"))
    size = _finite_size(weights)
    folder.mkdir(exist_ok=True)
    for path in (*weights, *(checkpoint / name for name in CONFIG_FILES)):
        if path.is_file():
            shutil.copyfile(path, folder / path.name)
    for name in TOKENIZER_FILES:
        if (model_folder / name).is_file():
            shutil.copyfile(model_folder / name, folder / name)
    return size


def _finite_size(files: Sequence[Path]) -> int:
    """Numbers in some safetensors, each of which must be finite."""
    size, broken = 0, []
    for path in files:
        with safe_open(path, framework="pt") as tensors:
            for name in tensors.keys():
                tensor = tensors.get_tensor(name)
                size += tensor.numel()
                broken += [] if tensor.isfinite().all() else [name]
    if broken:
        raise TrainingDiverged(
            "training ended with weights that are not finite numbers; nothing was published",
            found=f"{len(broken)} tensors, the first is {broken[0]}",
            help="lower train.learning_rate",
        )
    return size
