"""Asking the models of this process: greedy, what prompts begin with computed once, each answer kept as it comes."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from transformers import GenerationConfig

from curate.supervision import SupervisionError
from evals.comparing.prompting import SYSTEMS, Conversation, Speaker
from evals.comparing.setting import Answer
from evals.decoding import Ask, GreedyDecoder, shared_prefix
from evals.models import LoadedModels, load_models
from evals.responses import Responses, key
from schemas.progress import Progress
from train.adapter import load_weights
from train.run import MODEL


@dataclass(frozen=True)
class Weights:
    """Where the models are, and what decides their answers."""

    base: Path
    """Folder of the base model."""
    trained: Path
    """Stage folder of training."""
    full: Path | None
    """Stage folder of a fully fine-tuned run, where one is named."""
    identity: Mapping[str, Any]
    """Model -> digests of the files that it is made of."""
    dtype: str
    batch_size: int


class LocalModels:
    """Base, tuned and fully fine-tuned model, loaded when they are first asked.

    Args:
        weights: the models.
        speaker: makes their prompts.
        runs: the folder of all results, where answers are kept.
        progress: told of each batch.
    """

    def __init__(self, weights: Weights, speaker: Speaker, runs: Path, progress: Progress) -> None:
        self._weights, self._speaker, self._runs, self._progress = weights, speaker, runs, progress
        self._decoders: dict[int, GreedyDecoder] = {}
        self._errors: list[str] = []

    def ask(self, model: str, asked: Sequence[Conversation]) -> list[Answer]:
        """The answers of a model; those that are known are not asked again.

        Args:
            model: `base`, `tuned` or `full`.
            asked: conversations that end before an answer.

        Raises:
            UserError: the model cannot be loaded.
        """
        self._errors.clear()
        prompts = [self._prompt(one) for one in asked]
        answers: list[Answer | None] = [Answer("", 0, 0, one) if isinstance(one, str) else None for one in prompts]
        waiting = {place: one for place, one in enumerate(prompts) if not isinstance(one, str)}
        with self._loaded_as(model) as loaded, contextlib.closing(self._store(model)) as store:
            how = (self._speaker.most, self._ends(loaded))
            names = {place: key("compare", prompt, *how) for place, prompt in waiting.items()}
            known = store.get(names.values())
            done = {place: known[name] for place, name in names.items() if name in known}
            for some in self._decoded(loaded, asked, {k: p for k, p in waiting.items() if k not in done}):
                store.put({names[place]: list(tokens) for place, tokens in some.items() if tokens})
                done |= some
                self._progress.advance(len(done), len(waiting))
        for place, tokens in done.items():
            answers[place] = self._said(waiting[place], tokens)
        return [answer for answer in answers if answer is not None]

    def timed(self, model: str, asked: Conversation) -> tuple[Answer, float]:
        """One answer with its prompt read anew and no draft, and the seconds that it took; nothing is kept."""
        with self._loaded_as(model) as loaded:
            start = time.perf_counter()
            prompt = self._prompt(asked)
            if isinstance(prompt, str):
                return Answer("", 0, 0, prompt), 0.0
            ask = Ask(prompt, (), self._speaker.most)
            tokens = next(iter(self._answered(loaded, {0: ask})))[0]
            return self._said(prompt, tokens), time.perf_counter() - start

    def shared_tokens(self, asked: Sequence[Conversation]) -> int:
        """Tokens of these prompts that need not be computed again, since prompts asked together begin with them."""
        prompts = {place: prompt for place, one in enumerate(asked) if not isinstance(prompt := self._prompt(one), str)}
        groups = _alike(asked, prompts)
        return sum(len(shared_prefix([prompts[k] for k in group])) * (len(group) - 1) for group in groups)

    @property
    def engine(self) -> dict[str, Any]:
        """What computes, as an evaluation states it."""
        return self._models.engine

    @cached_property
    def _models(self) -> LoadedModels:
        found = load_models(self._weights.base, self._weights.trained, self._weights.dtype)
        _make_greedy(found.model)
        return found

    @cached_property
    def _full(self) -> Any:
        assert self._weights.full is not None
        number: Any = getattr(torch, self._weights.dtype)
        model: Any = load_weights(self._weights.full / MODEL)
        model = model.to(number).to(self._models.device).eval()
        _make_greedy(model)
        return model

    @contextlib.contextmanager
    def _loaded_as(self, model: str) -> Iterator[Any]:
        if model == "full":
            yield self._full
        else:
            with self._models.acting_as(model):
                yield self._models.model

    def _store(self, model: str) -> Responses:
        how = {"engine": self.engine, "batch_size": self._weights.batch_size}  # rounding differs between batch sizes
        return Responses(self._runs, {**self._weights.identity[model], **how})

    def _prompt(self, asked: Conversation) -> tuple[int, ...] | str:
        """The tokens, or why there are none."""
        try:
            return self._speaker.prompt(asked)[0]
        except SupervisionError as error:
            return str(error)

    def _ends(self, model: Any) -> list[int]:
        """Tokens that end an answer: the model's own, and the one that training taught."""
        own = model.generation_config.eos_token_id
        return sorted({self._speaker.end, *(own if isinstance(own, list) else [] if own is None else [own])})

    def _said(self, prompt: tuple[int, ...], tokens: Sequence[int] | None) -> Answer:
        if not tokens:
            why = "; ".join(sorted(set(self._errors))[:3])
            return Answer("", len(prompt), 0, f"the model failed on this prompt: {why}")
        return Answer(self._speaker.text(tokens), len(prompt), len(tokens))

    def _decoded(
        self, model: Any, asked: Sequence[Conversation], prompts: Mapping[int, tuple[int, ...]]
    ) -> Iterator[dict[int, tuple[int, ...] | None]]:
        """Answers as they come, those of prompts that begin alike together."""
        for group in _alike(asked, prompts):
            drafts = {place: self._speaker.draft(asked[place], prompts[place]) for place in group}
            yield from self._answered(
                model, {place: Ask(prompts[place], drafts[place], self._speaker.most) for place in group}
            )

    def _answered(self, model: Any, asks: Mapping[int, Ask]) -> Iterator[dict[int, tuple[int, ...] | None]]:
        """By `GreedyDecoder`; plainly and one by one where that does not fit the model."""
        decoder = self._decoders.setdefault(id(model), GreedyDecoder(model, self._weights.batch_size))
        ends, missing = self._ends(model), set(asks)
        for some in decoder.decode(asks, lambda tokens: tokens[-1] in ends):
            missing -= some.keys()
            yield some
        self._errors += decoder.errors
        decoder.errors.clear()
        for place in sorted(missing):
            yield {place: self._plain(model, asks[place], ends)}

    @torch.inference_mode()
    def _plain(self, model: Any, ask: Ask, ends: list[int]) -> tuple[int, ...] | None:
        prompt = torch.tensor([ask.prompt], device=model.device)
        try:
            found = model.generate(
                input_ids=prompt,
                attention_mask=torch.ones_like(prompt),
                max_new_tokens=ask.most,
                do_sample=False,
                eos_token_id=ends,
                pad_token_id=self._speaker.end,
            )
        except (RuntimeError, IndexError) as error:  # out of memory, or a token that the model does not know
            self._errors.append(f"{type(error).__name__}: {error}"[:300])
            return None
        return tuple(found[0, len(ask.prompt) :].tolist())


def _make_greedy(model: Any) -> None:
    """Every arm takes the likeliest token, whatever a model's own settings of generation say; its end tokens stay."""
    inner = model.get_base_model() if hasattr(model, "get_base_model") else model
    inner.generation_config = GenerationConfig(eos_token_id=inner.generation_config.eos_token_id)


def _alike(asked: Sequence[Conversation], prompts: Mapping[int, tuple[int, ...]]) -> list[list[int]]:
    """Places of prompts that are decoded together: of one system turn, and of as many turns.

    A prompt with fewer examples than the others would leave them little to share.
    """
    groups: dict[tuple[str, int], list[int]] = {}
    for place in prompts:
        first = asked[place].messages[0]
        system = str(first.get("content")) if first.get("role") in SYSTEMS else ""
        groups.setdefault((system, len(asked[place].messages)), []).append(place)
    return list(groups.values())
