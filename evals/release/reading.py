"""Two models read the same sequences, one after the other, and what differs between them token by token.

The first leaves log-probabilities, its likeliest tokens and whole distributions at some places; the second is compared
with these while it reads, so that the two are never in memory together.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from transformers import DynamicCache

from evals.paired import continuous_ends
from evals.release.prompts import Prompt
from evals.stats import Floats, Interval, no_interval, proportion
from evals.token_scores import MAX_LOGITS, Progress

HELD = 200_000_000
"""Most probabilities of the first model that are kept (places x vocabulary): 800 MB in float32."""
LEAST = 2
"""Places of a sequence: one in the prompt and one in the answer."""


@dataclass(frozen=True)
class TokenRow:
    """A prompt with its answer, as token ids of the judged model's tokenizer."""

    prompt: Prompt
    ids: tuple[int, ...]
    start: int
    """Tokens before the answer."""


@dataclass(frozen=True)
class Reading:
    """What one model makes of one sequence. Entry k is about token k + 1, given all before it."""

    log_p: Floats
    """(tokens - 1,) of the tokens that stand there, in nats."""
    likeliest: npt.NDArray[np.int64]
    """(tokens - 1,)"""
    held: dict[int, torch.Tensor]
    """Entry -> log-probabilities of the whole vocabulary, float32 on the CPU."""


@dataclass(frozen=True)
class Parting:
    """How two readings of one sequence part; sums, so that sequences can be added up."""

    cluster: str
    tokens: int
    answer_tokens: int
    places: int
    """At which distributions were compared."""
    largest: float
    """Largest |difference of log p|, in nats; not finite where a model gave no number."""
    total: float
    """Sum of |difference of log p|."""
    kl: float
    """Estimated sum over all tokens of KL(judged || exported)."""
    answer_kl: float
    """The same over the tokens of the answer."""
    same_top: npt.NDArray[np.float64]
    """(tokens,) 1 where both hold the same token for the likeliest."""


def encode(tokenizer: Any, text: str) -> list[int]:
    """Token ids of a text that a model is asked, as lm-eval makes them: a start token is put before it only once."""
    start = tokenizer.bos_token
    begun = bool(start) and text.startswith(start)
    return [int(one) for one in tokenizer.encode(text, **({"add_special_tokens": False} if begun else {}))]


def sequences(prompts: Sequence[Prompt], tokenizer: Any, longest: int) -> list[TokenRow]:
    """Prompts with their answers as tokens, cut from the left to what the model reads; the shortest are left out.

    Args:
        prompts: with answers.
        tokenizer: the judged model's.
        longest: most tokens that it reads.
    """
    found = []
    for prompt in prompts:
        # lm-eval counts white space at the end of a prompt as a part of the choice that it scores.
        before = prompt.context.rstrip() if prompt.choices else prompt.context
        ids, start = encode(tokenizer, prompt.context + prompt.answer), len(encode(tokenizer, before))
        cut = max(0, len(ids) - longest)
        if len(ids) > 1:
            found.append(TokenRow(prompt, tuple(ids[cut:]), max(1, min(start, len(ids)) - cut)))
    return found


def places(one: TokenRow, most: int) -> tuple[list[int], list[int]]:
    """Entries of a sequence at which whole distributions are compared: in the prompt, and in the answer.

    Both are spread evenly; the answer gets up to half of them, and what either does not need is the other's. At least
    LEAST are asked for.
    """
    prompt, answer = one.start - 1, len(one.ids) - one.start
    for_answer = min(answer, max(most // 2, most - prompt))
    for_prompt = min(prompt, most - for_answer)
    return _spread(0, prompt, for_prompt), _spread(prompt, prompt + answer, for_answer)


def _spread(first: int, stop: int, count: int) -> list[int]:
    return sorted({round(place) for place in np.linspace(first, stop - 1, count)}) if count else []


@torch.inference_mode()
def read(model: Any, one: TokenRow, held: Sequence[int]) -> Reading:
    """Let a model read a sequence, in pieces where its logits would not fit.

    Args:
        model: a transformers or peft causal model in evaluation mode.
        one: the sequence.
        held: entries whose whole distribution is kept.

    Raises:
        RuntimeError, IndexError: the model knows fewer tokens, or memory does not suffice.
    """
    ids = torch.tensor([one.ids], device=model.device)
    text = model.config.get_text_config()
    piece = max(1, MAX_LOGITS // int(text.vocab_size))
    wanted, log_p, likeliest = set(held), [], []
    kept: dict[int, torch.Tensor] = {}
    cache = DynamicCache(config=text) if len(one.ids) > piece else None
    for first in range(0, len(one.ids), piece):
        part = ids[:, first : first + piece]
        logits = model(input_ids=part, past_key_values=cache, use_cache=cache is not None).logits[0].float()
        scores = logits.log_softmax(-1)
        targets = ids[0, first + 1 : first + 1 + part.shape[1]]
        scores = scores[: len(targets)]  # nothing follows the last token
        log_p.append(scores.gather(1, targets[:, None])[:, 0].double().cpu().numpy())
        likeliest.append(scores.argmax(-1).cpu().numpy())
        kept |= {first + k: scores[k].cpu() for k in range(len(targets)) if first + k in wanted}
    return Reading(np.concatenate(log_p), np.concatenate(likeliest), kept)


def read_all(
    model: Any, asked: Sequence[TokenRow], vocabulary: int, progress: Progress
) -> list[tuple[Reading, tuple[list[int], list[int]]]]:
    """What a model makes of all sequences, with the places at which it keeps distributions."""
    most = max(LEAST, HELD // vocabulary // max(len(asked), 1))
    found = []
    for done, one in enumerate(asked):
        chosen = places(one, most)
        found.append((read(model, one, [*chosen[0], *chosen[1]]), chosen))
        progress(done + 1, len(asked))
    return found


def parting(one: TokenRow, exported: Reading, chosen: tuple[list[int], list[int]], judged: Reading) -> Parting:
    """How the exported model parts from the judged one on a sequence."""
    difference = np.abs(exported.log_p - judged.log_p)
    lengths = (one.start - 1, len(one.ids) - one.start)
    means = [_mean_kl(judged, exported, entries) for entries in chosen]
    sums = [length * mean for length, mean in zip(lengths, means, strict=True)]
    return Parting(
        cluster=f"{one.prompt.task}:{one.prompt.cluster}",
        tokens=len(difference),
        answer_tokens=lengths[1],
        places=len(chosen[0]) + len(chosen[1]),
        largest=float(difference.max()),
        total=float(difference.sum()),
        kl=sums[0] + sums[1],
        answer_kl=sums[1],
        same_top=(exported.likeliest == judged.likeliest).astype(np.float64),
    )


def _mean_kl(judged: Reading, exported: Reading, entries: Sequence[int]) -> float:
    if not entries:
        return 0.0
    return sum(divergence(judged.held[entry], exported.held[entry]) for entry in entries) / len(entries)


def divergence(log_p: torch.Tensor, log_q: torch.Tensor) -> float:
    """KL(p || q) in nats of two distributions given by their log-probabilities; never below 0 by rounding."""
    p = log_p.double().exp()
    return max(0.0, float((p * (log_p.double() - log_q.double())).masked_fill(p == 0, 0.0).sum()))


# --------------------------------------------------------------------------------------------------- over sequences


def mean_per_token(partings: Sequence[Parting], total: str, tokens: str, alpha: float, seed: int) -> Interval:
    """A mean per token with its interval over independent clusters of sequences.

    The interval is that of `evals.paired.continuous_ends`: on each side the farther of the BCa cluster bootstrap (Efron
    1987) and the clustered t interval. Tokens of one sequence are not independent, and divergences are skewed.

    Args:
        partings: of all sequences.
        total: the field that is summed.
        tokens: the field that counts what it is summed over.
        alpha: 1 - level.
        seed: of the resampling.
    """
    method = "mean per token, the wider of BCa bootstrap and clustered t over sequences"
    sums = _by_cluster(partings, total, tokens)
    sums = sums[sums[:, 1] > 0]
    count = int(sums[:, 1].sum())
    if not len(sums):
        return no_interval(method)
    if not np.isfinite(sums).all():
        return no_interval(method, count, len(sums), math.inf)
    estimate = float(sums[:, 0].sum() / sums[:, 1].sum())
    if len(sums) < 2:
        return no_interval(method, count, len(sums), estimate)
    low, high = continuous_ends(sums[:, 0], sums[:, 1], alpha, seed)
    return Interval(estimate, max(0.0, float(low)), float(high), count, len(sums), method)


def _by_cluster(partings: Sequence[Parting], total: str, tokens: str) -> Floats:
    found: dict[str, list[float]] = {}
    for one in partings:
        sums = found.setdefault(one.cluster, [0.0, 0.0])
        sums[0] += getattr(one, total)
        sums[1] += getattr(one, tokens)
    return np.array(list(found.values()), dtype=np.float64).reshape(-1, 2)


def equal_top(partings: Sequence[Parting], alpha: float) -> Interval:
    """Share of tokens before which both models hold the same token for the likeliest: Wilson on effective counts."""
    if not partings:
        return no_interval("Wilson score")
    same = np.concatenate([one.same_top for one in partings])
    clusters = np.concatenate([[one.cluster] * one.tokens for one in partings])
    return proportion(same, clusters, alpha)


def largest(partings: Sequence[Parting]) -> float:
    """Largest |difference of log p| of any token; infinite where a model gave no number."""
    found = max((one.largest for one in partings), default=0.0)
    return found if math.isfinite(found) and all(math.isfinite(one.total) for one in partings) else math.inf
