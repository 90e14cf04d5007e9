"""Conditions on log-probabilities and divergence, from numbers to an outcome and words."""

from __future__ import annotations

import math
from collections.abc import Sequence

from curate.score_test import MIN_CLUSTERS
from evals.measuring import Ends, outcome_of
from evals.release.numbers import measured, rounded
from evals.release.reading import Parting
from evals.stats import Interval
from schemas.verdict import Check, Outcome, combine

MORE = "raise release.sequences, or evals.limit where there are fewer items"


def log_p_check(largest: float | None, partings: Sequence[Parting], bound: float) -> Check:
    """Whether no token's log-probability differs by more than a bound; no sequence is no evidence."""
    if largest is None:
        said = "no sequence could be compared token by token"
        return Check(name="log-probabilities", outcome=Outcome.INCONCLUSIVE, message=said, help=MORE)
    tokens = sum(one.tokens for one in partings)
    fine = largest <= bound
    amount = f"by at most {largest:.2g} nats" if math.isfinite(largest) else "without bound: some are not numbers"
    said = (
        f"log-probabilities of {tokens:,} tokens in {len(partings):,} sequences differ {amount}, allowed are {bound:g}"
    )
    return Check(
        name="log-probabilities",
        outcome=Outcome.PASS if fine else Outcome.FAIL,
        message=said,
        measured={"largest": rounded(largest), "tokens": tokens, "sequences": len(partings)},
        required={"max_log_p": bound},
        help=""
        if fine
        else "the weights are not the judged ones: look at the scale of the adapter and the type of numbers",
    )


def divergence_check(kl: Interval, answer_kl: Interval, bound: float, *, exact: bool) -> Check:
    """Whether the mean divergence of a token is below a bound by the upper end of its interval, in all and in answers.

    Args:
        kl: over all tokens of the sequences.
        answer_kl: over the tokens of answers; empty where there are none.
        bound: in nats per token.
        exact: no log-probability differs beyond rounding, so that there is nothing to estimate.
    """
    parts = {"all tokens": kl} | ({"answers": answer_kl} if answer_kl.items else {})
    outcome = Outcome.PASS if exact else combine(_outcome(one, bound) for one in parts.values())
    words = [f"{_words(one)} nats a token over {name}" for name, one in parts.items()]
    advice = "take a form with more bits" if outcome is Outcome.FAIL else _advice(parts.values(), bound)
    return Check(
        name="divergence",
        outcome=outcome,
        message=f"KL(judged || exported) is {' and '.join(words)}, allowed are {bound:g}",
        measured={name.replace(" ", "_"): measured(one).model_dump(mode="json") for name, one in parts.items()},
        required={"max_kl": bound, "min_clusters": MIN_CLUSTERS},
        help="" if outcome is Outcome.PASS else advice,
    )


def _outcome(one: Interval, bound: float) -> Outcome:
    if math.isinf(one.estimate):
        return Outcome.FAIL
    ends: Ends = (one.estimate, one.low, one.high)
    return outcome_of(ends, bound) if one.is_evidence else Outcome.INCONCLUSIVE


def _words(one: Interval) -> str:
    if not math.isfinite(one.low) or not math.isfinite(one.high):
        return f"{one.estimate:.3g}" if math.isfinite(one.estimate) else "not defined"
    return f"{one.estimate:.3g} [{one.low:.3g}, {one.high:.3g}]"


def _advice(parts: object, bound: float) -> str:
    """How many sequences would decide, were the divergence as measured: an interval shrinks with their square root."""
    needed = 0
    for one in parts:  # type: ignore[attr-defined]
        if not one.is_evidence:
            needed = max(needed, MIN_CLUSTERS)
        elif one.estimate < bound < one.high:
            needed = max(needed, math.ceil(one.clusters * ((one.high - one.estimate) / (bound - one.estimate)) ** 2))
    return f"some {needed:,} sequences would decide, were the divergence as measured: {MORE}" if needed else MORE


def record_check(again: Sequence[float], bound: float, *, full: bool) -> tuple[Check, ...]:
    """Whether the judged model gives its recorded log-likelihoods again; nothing where none was kept.

    Args:
        again: differences per token, in nats.
        bound: largest that is rounding.
        full: whether it computes in float32; in fewer bits, rounding depends on the shape of a batch.
    """
    if not again or not full:
        return ()
    worst = max(again)
    fine = worst <= bound
    said = f"the judged model gives {len(again):,} recorded log-likelihoods again within {worst:.2g} nats a token"
    return (
        Check(
            name="record",
            outcome=Outcome.PASS if fine else Outcome.INCONCLUSIVE,
            message=said,
            measured={"largest": rounded(worst), "sequences": len(again)},
            required={"max_log_p": bound},
            help=""
            if fine
            else "the answers on record are another model's or machine's: run `assay evals` again, here",
        ),
    )
