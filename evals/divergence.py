"""Two models on one batch: the loss of each and how far their distributions part, without keeping any logits."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import torch

from evals.token_scores import DIGITS

if TYPE_CHECKING:
    from evals.token_scores import TokenScorer

Sums = tuple[float | None, float | None, float | None]
"""Loss of base, loss of tuned, KL(base || tuned), each in nats summed over the scored tokens; null where it failed."""
Asked = tuple[tuple[int, ...], int]
"""Token ids, and how many of the last are scored."""


def compare_models(
    scorer: TokenScorer, acting_as: Callable[[str], AbstractContextManager[None]], batch: Sequence[Asked]
) -> list[Sums]:
    """The sums of every row of a batch; a row that fails does not take the others with it.

    Args:
        scorer: holds the model; its count of passed rows grows by two a row.
        acting_as: makes the model compute as `base` or as `tuned`.
        batch: what is read.
    """
    try:
        return _compare(scorer, acting_as, batch)
    except (RuntimeError, IndexError) as error:  # out of memory, or a token that the model does not know
        if len(batch) > 1:
            return [compare_models(scorer, acting_as, [one])[0] for one in batch]
        scorer.errors.append(f"{type(error).__name__}: {error}"[:300])
        return [(None, None, None)]


@torch.inference_mode()
def _compare(scorer: TokenScorer, acting_as: Any, batch: Sequence[Asked]) -> list[Sums]:
    width = max(len(ids) for ids, _ in batch)
    tokens = torch.zeros((len(batch), width), dtype=torch.long)
    for place, (ids, _) in enumerate(batch):
        tokens[place, : len(ids)] = torch.tensor(ids)
    tokens = tokens.to(scorer.model.device)
    found = {}
    for model in ("base", "tuned"):
        with acting_as(model):
            scorer.rows_passed += len(batch)
            found[model] = scorer.model(input_ids=tokens, use_cache=False).logits.float().log_softmax(-1)
    sums: list[Sums] = []
    for place, (ids, scored) in enumerate(batch):
        rows = slice(len(ids) - scored - 1, len(ids) - 1)  # what is predicted at a place stands one before it
        base, tuned = found["base"][place, rows], found["tuned"][place, rows]
        target = tokens[place, len(ids) - scored : len(ids), None]
        p = base.exp()
        kl = (p * (base - tuned)).masked_fill(p == 0, 0.0).double().sum()
        losses = [-one.gather(1, target).double().sum() for one in (base, tuned)]
        sums.append(tuple(_finite(float(value)) for value in (*losses, kl)))  # type: ignore[arg-type]
    return sums


def _finite(value: float) -> float | None:
    return round(value, DIGITS) if math.isfinite(value) else None
