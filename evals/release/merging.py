"""The judged model as one set of weights: the adapter folded into its base, each weight once."""

from __future__ import annotations

import warnings
from typing import Any

from evals.release.adapter_checks import adapter_folder, open_adapter
from evals.release.source import Source
from schemas.errors import UserError


def merged_model(source: Source) -> Any:
    """The judged model without peft, on the CPU, in the dtype in which it was evaluated.

    Of a model whose input and output embeddings are one tensor, an adapter on either end would reach both once it is
    merged, which is not how it was judged: the two are separated first, and the config then says so.

    Raises:
        UserError: as `open_adapter`; merged weights are not finite; the fully fine-tuned model cannot be read.
    """
    if source.full is not None:
        return _full(source)
    model = open_adapter(source).to("cpu")
    _separate_embeddings(model)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of tied embeddings, which were separated, and of untied ones
            merged = model.merge_and_unload(safe_merge=True)
    except ValueError as error:
        raise UserError(
            "the adapter cannot be merged",
            where=str(adapter_folder(source)),
            found=str(error).strip()[:300],
            expected="finite weights that can be added to those of the base model",
            help="release the adapter alone (release.targets: [adapter]), or train again",
        ) from error
    return merged.eval()


def _full(source: Source) -> Any:
    import torch

    from train.adapter import load_weights

    assert source.full is not None
    model: Any = load_weights(source.full)
    return model.to(getattr(torch, source.dtype)).eval()


def _separate_embeddings(model: Any) -> None:
    """Give the output head a tensor of its own where LoRA is on either of two ends that share one."""
    import torch
    from peft.tuners.lora import LoraLayer

    inner = model.get_base_model()
    first, last = inner.get_input_embeddings(), inner.get_output_embeddings()
    if not isinstance(first, LoraLayer) and not isinstance(last, LoraLayer):
        return
    head: Any = last.get_base_layer() if isinstance(last, LoraLayer) else last
    head.weight = torch.nn.Parameter(head.weight.detach().clone(), requires_grad=False)
