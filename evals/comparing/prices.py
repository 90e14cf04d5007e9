"""What an arm costs: per answer, before the first one, and from how many answers on training pays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.compare import BreakEven, Cost
from schemas.compare_config import Prices

SECONDS = "s"
USUAL_VOLUME = 1000
HOUR_S = 3600.0
MILLION = 1e6
TRAINED = ("tuned", "full")
"""Models that were trained for the task, whose fixed cost comes back with each training."""


@dataclass(frozen=True)
class Use:
    """What one arm takes."""

    model: str
    """base, tuned, full, endpoint or none, as the run wrote it."""
    price: Mapping[str, Any] | None
    """Own prices of tokens, such as an endpoint's."""
    seconds: float | None
    """Mean of an answer asked alone."""
    tokens_in: float | None
    tokens_out: float | None
    fixed_seconds: float


def costs(uses: Sequence[Use], prices: Prices) -> tuple[str, list[Cost], str]:
    """Costs of the arms in one unit: money where every arm of this machine has a price, else measured seconds.

    Returns:
        Unit, a cost for each arm, and why it is not money, empty where it is.
    """
    volume = prices.answers or USUAL_VOLUME
    priced = [(_per_answer(use, prices), _fixed(use, prices)) for use in uses]
    local = [pair for use, pair in zip(uses, priced, strict=True) if use.model != "endpoint"] or priced
    if local and all(None not in pair for pair in local):
        return prices.currency, [_cost(*pair, volume) for pair in priced], ""
    why = "not every arm has a price (prices.machine_hour, or prices of tokens and of a training)"
    return SECONDS, [_cost(use.seconds, use.fixed_seconds, volume) for use in uses], why


def _cost(per_answer: float | None, fixed: float | None, volume: int) -> Cost:
    total = None if per_answer is None or fixed is None else fixed + volume * per_answer
    return Cost(per_answer=per_answer, fixed=fixed, total=total)


def _per_answer(use: Use, prices: Prices) -> float | None:
    own = use.price or {}
    read, written = own.get("input_per_million"), own.get("output_per_million")
    if use.model not in ("endpoint", "none") and not own:
        read, written = prices.input_per_million, prices.output_per_million
    if read is not None and written is not None:
        if use.tokens_in is None or use.tokens_out is None:
            return None
        return (use.tokens_in * float(read) + use.tokens_out * float(written)) / MILLION
    if use.model == "endpoint" or use.seconds is None or not prices.machine_hour:
        by_token = prices.input_per_million is not None
        return 0.0 if use.model == "none" and by_token else None  # a program beside models that are paid by the token
    return use.seconds / HOUR_S * prices.machine_hour


def _fixed(use: Use, prices: Prices) -> float | None:
    if use.model in TRAINED and prices.training is not None:
        return prices.training
    if prices.machine_hour:
        return use.fixed_seconds / HOUR_S * prices.machine_hour
    return None if use.model in TRAINED else 0.0


def break_even(arm: str, cost: Cost, other: str, theirs: Cost, prices: Prices) -> BreakEven:
    """From how many answers of one training on an arm costs less than another.

    Args:
        arm: that was trained.
        cost: of it.
        other: what it is held against.
        theirs: cost of the other.
        prices: with the days between trainings.
    """
    if cost.per_answer is None or cost.fixed is None or theirs.per_answer is None or theirs.fixed is None:
        return BreakEven(arm=arm, other=other, kind="unknown", answers=None, per_day=None)
    saved, extra = theirs.per_answer - cost.per_answer, cost.fixed - theirs.fixed
    if extra <= 0 and saved >= 0:
        return BreakEven(arm=arm, other=other, kind="always", answers=None, per_day=None)
    if extra >= 0 and saved <= 0:
        return BreakEven(arm=arm, other=other, kind="never", answers=None, per_day=None)
    answers = extra / saved
    days = prices.retrain_every_days
    return BreakEven(
        arm=arm,
        other=other,
        kind="from" if saved > 0 else "up_to",
        answers=answers,
        per_day=answers / days if days else None,
    )


def on_front(points: Sequence[tuple[float, float]]) -> list[bool]:
    """Whether no other point costs as little and is better, or costs less and is as good.

    Args:
        points: (cost, quality) of each arm.
    """
    return [
        not any(c <= cost and q >= quality and (c < cost or q > quality) for c, q in points) for cost, quality in points
    ]
