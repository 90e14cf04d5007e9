"""Whether an adapter says all there is: on the untouched base model it must be what was judged, and nothing less."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from evals.release.source import Source, load_judged
from schemas.errors import UserError

PURE_INITS = (True, False, None, "gaussian", "eva", "orthogonal", "mica")
"""Starts of LoRA (`init_lora_weights`) that leave the base model's weights as they are.

The others (PiSSA, OLoRA, CorDA, LoftQ, LoRA-GA) take a part out of the base weights first, so that the same adapter on
the untouched base model is another model.
"""


def adapter_folder(source: Source) -> Path:
    """Where the trained adapter is.

    Raises:
        UserError: the model was fully fine-tuned.
    """
    if source.adapter is None:
        raise UserError(
            "there is no adapter to release: every weight was trained",
            where=str(source.trained),
            expected="an adapter",
            help="drop `adapter` from release.targets; `merged` is the model itself",
        )
    return source.adapter


def open_adapter(source: Source) -> Any:
    """The peft model of the adapter on its base, once all of the adapter was found to be in it.

    Raises:
        UserError: it is not LoRA, its start changed the base weights, it has tensors for modules that the base model
            does not have, or it does not fit the base model.
    """
    folder = adapter_folder(source)
    _check_settings(folder, adapter_settings(folder))
    model = load_judged(source).model
    _check_all_is_used(folder, model, source)
    return model


def adapter_settings(folder: Path) -> dict[str, Any]:
    """`adapter_config.json` of an adapter.

    Raises:
        UserError: it cannot be read.
    """
    path = folder / "adapter_config.json"
    try:
        settings = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise UserError("the adapter's settings cannot be read", where=str(path), found=str(error)[:200]) from error
    if not isinstance(settings, dict):
        raise UserError("the adapter's settings are no JSON object", where=str(path), found=type(settings).__name__)
    return settings


def _check_settings(folder: Path, settings: dict[str, Any]) -> None:
    where = str(folder / "adapter_config.json")
    kind = settings.get("peft_type")
    if kind != "LORA":
        raise UserError("only LoRA adapters are released", where=where, found=f"peft_type {kind!r}", expected="LORA")
    start = settings.get("init_lora_weights", True)
    if start not in PURE_INITS:
        raise UserError(
            "this adapter started by changing the base model's weights, so it is nothing on the untouched base model",
            where=where,
            found=f"init_lora_weights {start!r}",
            expected=f"one of {', '.join(map(str, PURE_INITS))}",
            help="convert it to plain LoRA (peft: save_pretrained with path_initial_model_for_weight_conversion), "
            "import that, and evaluate it again",
        )
    for setting in ("layer_replication", "alora_invocation_tokens"):
        if settings.get(setting):
            raise UserError(
                "this adapter is more than a change of weights, so it can be neither merged nor served as LoRA",
                where=where,
                found=f"{setting} {str(settings[setting])[:80]}",
                expected="an adapter without it",
            )


def _check_all_is_used(folder: Path, model: Any, source: Source) -> None:
    """Refuse tensors that no module of the model takes: peft reads past them, and what they learned would be lost."""
    from peft import get_peft_model_state_dict
    from safetensors import safe_open

    path = folder / "adapter_model.safetensors"
    with safe_open(path, framework="pt") as tensors:
        held = set(tensors.keys())
    extra = sorted(held - set(get_peft_model_state_dict(model, save_embedding_layers=True)))
    if extra:
        raise UserError(
            "the adapter has weights for modules that the base model does not have",
            where=str(path),
            found=f"{len(extra)} tensors, the first is {extra[0]}",
            expected=f"only modules of {source.base.name}",
            help="name the base model that it was trained on in train.base_model",
        )
