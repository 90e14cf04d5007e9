"""Greedy answers to many prompts: their common beginning is computed once, an expected answer is checked in one pass.

An expected answer follows its prompt in the same pass. As far as its tokens are the model's likeliest ones, greedy
decoding would have taken them too, one pass each; from the first that is not, the answer goes on token by token
(Leviathan et al. 2023, arXiv 2211.17192, with a draft that costs nothing). So a draft decides how long an answer takes,
and never what it is.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import DynamicCache

from evals.packing import common_prefix

MIN_SHARED = 16
"""Tokens that prompts must have in common for those to be computed apart."""
TRIAL = 16
"""Drafts tried before it is decided whether the others are worth their pass."""
WORTH = 0.1
"""Share of the tried drafts' tokens that must be right for that."""
TIE = 1e-3
"""Logits that differ by less may change places with the shape of a batch."""
PLAIN = frozenset(
    ("temperature", "top_k", "top_p", "min_p", "typical_p", "do_sample", "use_cache", "cache_implementation")
)
"""Settings of a model's own generation that change nothing where the likeliest token is taken."""

Ends = Callable[[Sequence[int]], bool]
"""Whether an answer, given by its tokens so far, is over."""


@dataclass(frozen=True)
class Ask:
    """A prompt to be answered."""

    prompt: tuple[int, ...]
    draft: tuple[int, ...]
    """What the answer may be; may be empty."""
    most: int
    """Tokens after which the answer is over, at least 1."""


@dataclass
class _Answer:
    """An answer on its way."""

    number: int
    ask: Ask
    tokens: list[int] = field(default_factory=list)
    over: bool = False

    def take(self, token: int, ends: Ends) -> None:
        self.tokens.append(token)
        self.over = len(self.tokens) >= self.ask.most or ends(self.tokens)


class GreedyDecoder:
    """Decodes with one causal language model.

    Args:
        model: a transformers or peft causal model in evaluation mode.
        batch_size: prompts a pass.
    """

    def __init__(self, model: Any, batch_size: int) -> None:
        self.model = model
        self.batch_size = batch_size
        inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        self.trusted = "logits_to_keep" in inspect.signature(inner.forward).parameters and not _own_settings(model)
        """Whether this way was found to take the likeliest token for this model; if not, nothing may be decoded."""
        self.rows_passed = 0
        """Prompts that went through the model."""
        self.errors: list[str] = []
        """What went wrong on prompts without an answer."""
        self._checked = False

    def decode(self, asks: Mapping[int, Ask], ends: Ends) -> Iterator[dict[int, tuple[int, ...] | None]]:
        """Answers, a batch at a time, longest prompts first.

        Args:
            asks: by any number, prompts of at least one token.
            ends: whether an answer is over.

        Returns:
            Number of the ask -> tokens of the answer, the last of which ended it; null where the model failed on this
            prompt. Ends early where `trusted` turns false; the batch in question is not given.
        """
        prefix = shared_prefix([ask.prompt for ask in asks.values()])
        held = self._prefill(prefix) if self.trusted else None
        waiting = sorted(asks, key=lambda number: -len(asks[number].prompt))
        tried = right = 0
        for start in range(0, len(waiting), self.batch_size):
            drafts = tried < TRIAL or right >= WORTH * tried
            batch = [_Answer(number, asks[number]) for number in waiting[start : start + self.batch_size]]
            accepted = self._answer(batch, len(prefix), held, ends, drafts=drafts) if self.trusted else 0
            if self.trusted and not self._checked:
                self._checked, self.trusted = True, all(map(self._is_greedy, (batch[0], batch[-1])))
            if not self.trusted:
                return
            if drafts:
                tried, right = tried + sum(len(one.ask.draft) for one in batch), right + accepted
            yield {answer.number: tuple(answer.tokens) or None for answer in batch}

    def _answer(self, batch: list[_Answer], shared: int, held: Any, ends: Ends, *, drafts: bool) -> int:
        """Fill the answers; gives the number of draft tokens that were right."""
        try:
            return self._decode(batch, shared, held, ends, drafts=drafts)
        except (RuntimeError, IndexError) as error:  # out of memory, or a token that the model does not know
            for answer in batch:
                answer.tokens.clear()
                answer.over = False
            if len(batch) > 1:
                return sum(self._answer([answer], shared, held, ends, drafts=drafts) for answer in batch)
            self.errors.append(f"{type(error).__name__}: {error}"[:300])
            return 0

    @torch.inference_mode()
    def _prefill(self, prefix: tuple[int, ...]) -> Any:
        """Keys and values of what all prompts begin with."""
        cache = DynamicCache(config=self.model.config.get_text_config())
        try:
            if prefix:
                self._forward(torch.tensor([prefix]), cache, None, None, slice(-1, None))
        except (RuntimeError, IndexError, TypeError, ValueError):
            self.trusted = False
        return cache

    @torch.inference_mode()
    def _decode(self, batch: list[_Answer], shared: int, held: Any, ends: Ends, *, drafts: bool) -> int:
        self.rows_passed += len(batch)
        rests = [answer.ask.prompt[shared:] for answer in batch]
        tails = [answer.ask.draft if drafts else () for answer in batch]
        width, depth = max(map(len, rests)), max(map(len, tails))
        tokens = torch.zeros((len(batch), width + depth), dtype=torch.long)
        mask = torch.zeros((len(batch), shared + width + depth), dtype=torch.long)
        mask[:, :shared] = 1
        for row, (rest, tail) in enumerate(zip(rests, tails, strict=True)):
            first, last = width - len(rest), width + len(tail)
            tokens[row, first:last] = torch.tensor((*rest, *tail))
            mask[row, shared + first : shared + last] = 1
        cache = copy.deepcopy(held)
        if shared:
            cache.batch_repeat_interleave(len(batch))
        positions = shared + (mask[:, shared:].cumsum(1) - 1).clamp(min=0)
        likeliest = self._forward(tokens, cache, mask, positions, slice(width - 1, width + depth))
        accepted = 0
        for row, (answer, tail) in enumerate(zip(batch, tails, strict=True)):
            right = 0
            while not answer.over and right < len(tail) and likeliest[row, right] == tail[right]:
                answer.take(tail[right], ends)
                right += 1
            if not answer.over:
                answer.take(int(likeliest[row, right]), ends)
            accepted += right
            mask[row, shared + width + right :] = 0
        self._go_on(batch, cache, mask, ends)
        return accepted

    def _go_on(self, batch: list[_Answer], cache: Any, mask: torch.Tensor, ends: Ends) -> None:
        """Token by token, until all are over; those that are over leave when they are half of a batch."""
        rows = list(batch)
        while any(not answer.over for answer in rows):
            staying = [row for row, answer in enumerate(rows) if not answer.over]
            if 2 * len(staying) <= len(rows):
                cache.batch_select_indices(torch.tensor(staying, device=self.model.device))
                rows, mask = [rows[row] for row in staying], mask[staying]
            mask = torch.cat((mask, torch.ones((len(rows), 1), dtype=torch.long)), 1)
            newest = torch.tensor([[answer.tokens[-1]] for answer in rows])
            positions = mask.sum(1, keepdim=True) - 1
            likeliest = self._forward(newest, cache, mask, positions, slice(-1, None))
            for row, answer in enumerate(rows):
                if not answer.over:
                    answer.take(int(likeliest[row, 0]), ends)

    def _forward(
        self,
        tokens: torch.Tensor,
        cache: Any,
        mask: torch.Tensor | None,
        positions: torch.Tensor | None,
        read: slice,
    ) -> torch.Tensor:
        """The likeliest next token after each position that is read: (rows, positions)."""
        device = self.model.device
        places = torch.arange(tokens.shape[1])[read]
        options = {} if mask is None else {"attention_mask": mask.to(device)}
        options |= {} if positions is None else {"position_ids": positions.to(device)}
        logits = self.model(
            input_ids=tokens.to(device),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=places.to(device),
            **options,
        ).logits
        highest = logits.max(-1)
        if not torch.isfinite(highest.values).all():
            raise RuntimeError("the model's output is not a number")
        likeliest: torch.Tensor = highest.indices.cpu()
        return likeliest

    @torch.inference_mode()
    def _is_greedy(self, answer: _Answer) -> bool:
        """Whether one plain pass, without cache or padding, takes the same tokens; of no answer nothing is known."""
        if not answer.tokens:
            return False
        told = (*answer.ask.prompt, *answer.tokens[:-1])
        logits = self.model(input_ids=torch.tensor([told], device=self.model.device), use_cache=False).logits
        read = logits[0, len(answer.ask.prompt) - 1 :].float().cpu()
        chosen = read.gather(1, torch.tensor(answer.tokens)[:, None])[:, 0]
        return bool((read.max(-1).values - chosen <= TIE).all())


def shared_prefix(prompts: Sequence[tuple[int, ...]]) -> tuple[int, ...]:
    """What all prompts begin with, at least one token less than any of them; empty where it is too short to matter."""
    if len(prompts) < 2:
        return ()
    first, last = min(prompts), max(prompts)
    count = min(common_prefix(first, last), min(map(len, prompts)) - 1)
    return first[:count] if count >= MIN_SHARED else ()


def _own_settings(model: Any) -> list[str]:
    """Settings of the model's own generation that could make it take another than the likeliest token."""
    settings = getattr(model, "generation_config", None)
    changed: dict[str, Any] = {} if settings is None else settings.to_diff_dict()
    harmless = {name for name in changed if name.startswith(("_", "output_")) or name.endswith("_token_id")}
    lengths = {"max_length", "max_new_tokens", "transformers_version", "return_dict_in_generate"}
    forced = {name for name in changed if name.startswith("forced_")}
    return sorted(set(changed) - (harmless - forced) - PLAIN - lengths)
