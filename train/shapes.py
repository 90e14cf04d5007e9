"""A training step without data: the model on torch's meta device, every tensor of the step counted while it lives.

The meta device computes shapes and nothing else, so a step of any model takes about a second, no weights and no memory.
What is counted are the storages that the operations of forward and backward return. Scratch space inside one operation
is not seen.
"""

from __future__ import annotations

import weakref
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

GRADIENTS, LOGITS, ACTIVATIONS = "gradients", "logits", "activations"
META = torch.device("meta")


@dataclass(frozen=True)
class BatchShape:
    """What of a batch decides its memory."""

    rows: int
    """Sequences side by side; 1 where rows are packed."""
    tokens: int
    """Of the longest sequence, to which the others are padded."""
    columns: int
    """Positions at which some sequence carries loss."""
    supervised: int
    """Tokens that carry loss, over all sequences."""
    compact: bool = False
    """Whether TRL's head, which makes log-probabilities, leaves out the tokens without loss: with Triton, on a GPU."""

    @property
    def padded_tokens(self) -> int:
        """Tokens that the model computes."""
        return self.rows * self.tokens


class LiveTensors(TorchDispatchMode):
    """Bytes of the tensors that were made inside and still live, by kind, and the most that lived at one time.

    A tensor over the vocabulary is counted as logits, one that became a parameter's gradient as gradients, and
    everything else as activations.
    """

    def __init__(self, vocabulary: int, parameters: list[torch.Tensor]) -> None:
        super().__init__()
        self.now: Counter[str] = Counter()
        self.at_peak: Counter[str] = Counter()
        self._vocabulary = vocabulary
        self._kinds: dict[int, tuple[str, int]] = {}
        self._outside = {parameter.untyped_storage()._cdata for parameter in parameters}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """Run the operation, and note what it returns."""
        made = func(*args, **(kwargs or {}))
        for tensor in tree_leaves(made):
            if isinstance(tensor, torch.Tensor):
                self._note(tensor)
        return made

    def became_gradient(self, parameter: torch.Tensor) -> None:
        """Count a parameter's gradient as such; called once it is accumulated."""
        assert parameter.grad is not None
        key = parameter.grad.untyped_storage()._cdata
        if key in self._kinds:
            kind, size = self._kinds[key]
            self._kinds[key] = GRADIENTS, size
            self.now[kind] -= size
            self.now[GRADIENTS] += size

    def _note(self, tensor: torch.Tensor) -> None:
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._kinds or key in self._outside:
            return
        over_vocabulary = tensor.ndim > 1 and tensor.shape[-1] in (self._vocabulary, min(self._vocabulary, TILE[1]))
        kind = LOGITS if over_vocabulary else ACTIVATIONS
        self._kinds[key] = kind, storage.nbytes()
        self.now[kind] += storage.nbytes()
        weakref.finalize(storage, self._forget, key)
        if self.now.total() > self.at_peak.total():
            self.at_peak = self.now.copy()

    def _forget(self, key: int) -> None:
        kind, size = self._kinds.pop(key)
        self.now[kind] -= size


def _sdpa(module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **settings: Any) -> tuple[Any, None]:
    """What torch's fused attention returns and keeps for backward: the output and one number a row and head."""
    key, value = _repeated(module, key), _repeated(module, value)
    mask = None
    if module.config._attn_implementation == MASKED:  # a mask of booleans becomes one of numbers in every layer
        mask = torch.empty(query.shape[0], 1, query.shape[2], key.shape[2], device=META, dtype=query.dtype)
    fused = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu
    out = fused(query, key, value, 0.0, mask is None, attn_mask=mask)[0]
    return out.transpose(1, 2).contiguous(), None


def _eager(module: Any, query: Any, key: Any, value: Any, attention_mask: Any, **settings: Any) -> tuple[Any, None]:
    """Attention with its matrix of tokens by tokens, as `eager` keeps it."""
    key, value = _repeated(module, key), _repeated(module, value)
    scores = torch.matmul(query, key.transpose(2, 3)) * 1.0
    scores = scores + torch.empty(1, 1, *scores.shape[2:], device=META, dtype=scores.dtype)
    weights = torch.nn.functional.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), None


def _repeated(module: Any, states: torch.Tensor) -> torch.Tensor:
    groups = getattr(module, "num_key_value_groups", 1)
    return states if groups == 1 else states.repeat_interleave(groups, dim=1)


CAUSAL, MASKED, EAGER = "assay_shapes", "assay_shapes_masked", "assay_shapes_eager"
for _name, _function in ((CAUSAL, _sdpa), (MASKED, _sdpa), (EAGER, _eager)):
    ALL_ATTENTION_FUNCTIONS.register(_name, _function)
"""transformers makes no mask for attention that it does not know, which the meta device could not do either."""


def peak_of_step(model: Any, method: str, shape: BatchShape, *, accumulated: bool, reference: bool) -> Counter[str]:
    """Bytes of the tensors that a step makes, by kind, at the moment when most of them live.

    Args:
        model: on the meta device; its weights, adapter and optimiser states are not counted.
        method: `train.method`.
        shape: of the batch.
        accumulated: gradients of an earlier batch are there when this one goes forward.
        reference: a copy of the model gives the reference; else the adapter is switched off for it.
    """
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    vocabulary = int(model.config.get_text_config().vocab_size)
    live = LiveTensors(vocabulary, [*model.parameters(), *model.buffers()])
    hooks = [weight.register_post_accumulate_grad_hook(live.became_gradient) for weight in trained]
    try:
        with live:
            for _ in range(2 if accumulated else 1):
                LOSSES[method](model, shape, reference).backward()
    finally:
        for hook in hooks:
            hook.remove()
        model.zero_grad(set_to_none=True)
    return live.at_peak


def peak_of_generation(model: Any, rows: int, prompt: int) -> Counter[str]:
    """Bytes of the tensors that reading prompts makes before answers are drawn, without the cache."""
    live = LiveTensors(int(model.config.get_text_config().vocab_size), [*model.parameters(), *model.buffers()])
    with live, torch.no_grad():
        model(input_ids=_tokens(rows, prompt), logits_to_keep=1, use_cache=False)
    return live.at_peak


def _tokens(rows: int, tokens: int) -> torch.Tensor:
    return torch.empty(rows, tokens, dtype=torch.long, device=META)


def _supervised_loss(model: Any, shape: BatchShape, reference: bool) -> torch.Tensor:
    """Cross-entropy of the supervised tokens; logits in the supervised columns only."""
    columns = torch.empty(shape.columns, dtype=torch.long, device=META)
    logits = model(input_ids=_tokens(shape.rows, shape.tokens), logits_to_keep=columns, use_cache=False).logits
    chosen = torch.empty(shape.supervised, dtype=torch.long, device=META)
    wanted: torch.Tensor = _Chosen.apply(logits.flatten(0, 1), shape.supervised)
    return torch.nn.functional.cross_entropy(wanted.float(), chosen, reduction="sum")


class _Chosen(torch.autograd.Function):
    """Stands for picking rows by a mask, whose backward writes into zeros; on the meta device it would copy those."""

    @staticmethod
    def forward(ctx: Any, table: torch.Tensor, rows: int) -> torch.Tensor:
        """(all rows, width) to (rows, width)."""
        ctx.shape = table.shape
        return torch.empty(rows, table.shape[1], device=META, dtype=table.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        """The gradient among zeros."""
        return torch.empty(ctx.shape, device=META, dtype=gradient.dtype), None


def _log_probabilities(model: Any, shape: BatchShape) -> torch.Tensor:
    """One number a token, as TRL's preference trainers get them: from tiles of the logits that are made twice."""
    backbone = model.get_base_model() if hasattr(model, "get_base_model") else model
    states = backbone.base_model(input_ids=_tokens(shape.rows, shape.tokens), use_cache=False)[0][:, :-1]
    rows = shape.supervised if shape.compact else states.shape[0] * states.shape[1]
    vocabulary = int(model.config.get_text_config().vocab_size)
    kept = states.flatten(0, 1).index_select(0, torch.empty(rows, dtype=torch.long, device=META))
    found: torch.Tensor = _TiledHead.apply(kept, vocabulary, shape.compact)
    return found.sum() * torch.ones(shape.rows, device=META)


TILE = (4096, 32768)
"""Tokens and vocabulary of a tile of logits in TRL."""
TILES_FORWARD, TILES_BACKWARD = 4.25, 8.25
"""Tiles that TRL's head holds at once where it works with torch's own operations; with Triton it is one."""


class _TiledHead(torch.autograd.Function):
    """Stands for TRL's output head: what it holds while it runs, and what it keeps for backward."""

    @staticmethod
    def forward(ctx: Any, states: torch.Tensor, vocabulary: int, triton: bool) -> torch.Tensor:
        """(tokens, width) to (tokens,)."""
        ctx.save_for_backward(states)
        ctx.tile = min(states.shape[0], TILE[0]), min(vocabulary, TILE[1])
        ctx.triton = triton
        _scratch(ctx.tile, 1.0 if triton else TILES_FORWARD, states.dtype)
        return torch.empty(states.shape[0], device=META)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        """The gradient of the states, added up in float32."""
        (states,) = ctx.saved_tensors
        summed = torch.empty(states.shape, device=META)
        _scratch(ctx.tile, 1.0 if ctx.triton else TILES_BACKWARD, states.dtype)
        return summed.to(states.dtype), None, None


def _scratch(tile: tuple[int, int], tiles: float, dtype: torch.dtype) -> None:
    """Allocate and forget, over a last dimension that is counted as logits."""
    torch.empty(int(tiles * tile[0]), tile[1], device=META, dtype=dtype)


@contextmanager
def _without_adapter(model: Any, reference: bool) -> Iterator[None]:
    with torch.no_grad():
        if reference:
            yield
        else:
            with model.disable_adapter():
                yield


def _preference_loss(model: Any, shape: BatchShape, reference: bool) -> torch.Tensor:
    """DPO: both answers forward, then both without gradients."""
    tuned = _log_probabilities(model, shape)
    with _without_adapter(model, reference):
        base = _log_probabilities(model, shape)
    better, worse = (tuned - base).chunk(2)
    return -torch.nn.functional.logsigmoid(better - worse).mean()


def _feedback_loss(model: Any, shape: BatchShape, reference: bool) -> torch.Tensor:
    """KTO: mismatched answers and the base model without gradients, the rows with them."""
    with torch.no_grad():
        crossed = _log_probabilities(model, shape)
    tuned = _log_probabilities(model, shape)
    with _without_adapter(model, reference):
        base = _log_probabilities(model, shape)
    return torch.sigmoid(tuned - base - crossed.mean()).mean()


def _policy_loss(model: Any, shape: BatchShape, reference: bool) -> torch.Tensor:
    """GRPO: log-probabilities of the drawn answers."""
    return _log_probabilities(model, shape).mean()


def _score_loss(model: Any, shape: BatchShape, reference: bool) -> torch.Tensor:
    """Reward model: one score a sequence, from its last token."""
    backbone = getattr(model, "get_base_model", lambda: model)()
    states = backbone.base_model(input_ids=_tokens(shape.rows, shape.tokens), use_cache=False)[0]
    scores = backbone.score(states)[:, -1, 0]
    better, worse = scores.chunk(2)
    return -torch.nn.functional.logsigmoid(better - worse).mean()


LOSSES: dict[str, Callable[[Any, BatchShape, bool], torch.Tensor]] = {
    "sft": _supervised_loss,
    "text": _supervised_loss,
    "full": _supervised_loss,
    "dpo": _preference_loss,
    "kto": _feedback_loss,
    "grpo": _policy_loss,
    "reward": _score_loss,
}
