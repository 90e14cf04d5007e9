"""Log-likelihoods of continuations under one model: shared beginnings once, logits only where they are read.

All that is asked of a model in one go, choices of a task and supervised answers alike, is packed together and
remembered, so that a row passes through a model once.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch

from evals.packing import Query, Row, pack
from evals.responses import Responses, key

MAX_LOGITS = 100_000_000
"""Most logits held at a time (rows x positions x vocabulary): 400 MB in float32."""
DIGITS = 6
"""Digits behind the point of what is kept of a token."""
AGREEMENT = 1e-3
"""Largest difference in nats at which branching rows are trusted to score as plain ones do."""


@dataclass(frozen=True)
class TokenScore:
    """A continuation's score."""

    log_likelihood: float
    """Sum over its tokens, in nats; not a number where the model failed."""
    is_greedy: bool
    """Whether each token is the model's most likely one."""
    tokens: int
    each: tuple[Token, ...] = ()
    """Of its tokens, where the query asked for it."""


class Token(NamedTuple):
    """One token of a continuation, given all true tokens before it."""

    log_p: float
    """In nats."""
    z: float
    """`log_p` less its mean under the model, in standard deviations: (log p(x) - mu) / sigma with mu and sigma over the
    vocabulary, the token score of Min-K%++ (Zhang et al. 2024, arXiv 2404.02936)."""
    is_greedy: bool
    """Whether it is the model's most likely token."""


def token_details(log_p: torch.Tensor, target: torch.Tensor) -> tuple[Token, ...]:
    """Of the tokens `target` (n) under the log-probabilities (n, vocabulary) before each; rounded to be stored."""
    p = log_p.exp()
    mean = -torch.special.entr(p).sum(-1)
    centred = (log_p - mean[:, None]).masked_fill(p == 0, 0.0)  # a token that cannot come weighs nothing
    deviation = (p * centred**2).sum(-1).sqrt()
    chosen = log_p.gather(1, target[:, None])[:, 0]
    z = torch.where(deviation > 0, (chosen - mean) / deviation, torch.zeros_like(mean))
    greedy = (log_p.argmax(-1) == target).tolist()
    rounded = zip(chosen.tolist(), z.tolist(), greedy, strict=True)
    return tuple(Token(round(one, DIGITS), round(other, DIGITS), best) for one, other, best in rounded)


Progress = Callable[[int, int], None]
"""Rows done, rows in all."""


class TokenScorer:
    """Scores queries with one causal language model and remembers the answers.

    Args:
        model: a transformers or peft causal model; used in evaluation mode.
        batch_size: rows a forward pass.
        max_length: most tokens that the model reads.
        progress: told after every batch.
    """

    def __init__(self, model: Any, batch_size: int, max_length: int, progress: Progress | None = None) -> None:
        self.model = model.eval()
        self.batch_size = batch_size
        self.max_length = max_length
        self.progress = progress
        self.rows_passed = 0
        """Rows that went through the model, for tests and reports."""
        self.errors: list[str] = []
        """What went wrong on rows whose score is not a number."""
        inner = model.get_base_model() if hasattr(model, "get_base_model") else model
        self._selects_logits = "logits_to_keep" in inspect.signature(inner.forward).parameters
        self.vocabulary = int(inner.config.get_text_config().vocab_size)
        self._branches: bool | None = None
        self.store: Responses | None = None
        """Answers of the model as it is now, from earlier evaluations; null asks everything."""
        self._expected: list[Query] = []
        self._known: dict[Query, TokenScore] = {}

    def expect(self, queries: Iterable[Query]) -> None:
        """Say what will be asked later, so that it shares rows with what is asked next."""
        self._expected += queries

    def forget(self) -> None:
        """Drop all answers, because the model's weights are about to change."""
        self.store = None
        self._known.clear()
        self._expected.clear()

    def score(self, queries: Sequence[Query]) -> list[TokenScore]:
        """The score of each query, in order."""
        asked = [query for query in (*queries, *self._expected) if query not in self._known]
        self._expected.clear()
        asked = self._recall(asked)
        if asked:
            self._run(asked)
        return [self._known[query] for query in queries]

    def _recall(self, queries: list[Query]) -> list[Query]:
        """Take what the store knows; gives the others."""
        if self.store is None:
            return queries
        keys = {query: _key(query) for query in queries}
        known = self.store.get(keys.values())
        self._known |= {query: _recalled(known[name]) for query, name in keys.items() if name in known}
        return [query for query, name in keys.items() if name not in known]

    def _keep(self, found: dict[Query, TokenScore]) -> None:
        """Remember answers, and store them."""
        self._known |= found
        if self.store is not None:
            self.store.put(
                {_key(query): _stored(one) for query, one in found.items() if math.isfinite(one.log_likelihood)}
            )

    def _run(self, queries: list[Query]) -> None:
        rows = pack(queries, self.max_length, branches=self._branches is not False)
        branching = next((row for row in rows if row.branches), None)
        if branching is not None and self._branches is None:
            self._branches = self._may_branch(branching)
            rows = pack(queries, self.max_length, branches=self._branches)
        done = 0
        while done < len(rows):
            batch = self._batch(rows[done:])
            self._score_batch(batch)
            done += len(batch)
            if self.progress:
                self.progress(done, len(rows))

    def _batch(self, rows: list[Row]) -> list[Row]:
        """As many of the next rows as the batch size and the memory for logits allow, at least one."""
        batch: list[Row] = []
        read: set[int] = set()
        for row in rows[: self.batch_size]:
            read |= {index for _, indexes in row.reads for index in indexes}
            positions = len(read) if self._selects_logits else len(rows[0].tokens)
            if batch and (len(batch) + 1) * positions * self.vocabulary > MAX_LOGITS:
                break
            batch.append(row)
        return batch

    def _score_batch(self, batch: list[Row]) -> None:
        try:
            self._keep(self._forward(batch))
        except (RuntimeError, IndexError) as error:  # out of memory, or a token that the model does not know
            if len(batch) > 1:
                for row in batch:
                    self._score_batch([row])
                return
            self.errors.append(f"{type(error).__name__}: {error}"[:300])
            failed = TokenScore(math.nan, False, 0)
            self._known |= dict.fromkeys((query for query, _ in batch[0].reads), failed)

    def _may_branch(self, row: Row) -> bool:
        """Compare a branching row with plain ones: not every architecture honours an attention mask of its own."""
        plain: dict[Query, TokenScore] = {}
        try:
            branched = self._forward([row])
            for query, _ in row.reads:
                plain |= self._forward(pack([query], self.max_length, branches=False))
        except (RuntimeError, IndexError, TypeError, ValueError):
            return False
        return all(
            abs(branched[query].log_likelihood - plain[query].log_likelihood) <= AGREEMENT for query, _ in row.reads
        )

    @torch.inference_mode()
    def _forward(self, batch: list[Row]) -> dict[Query, TokenScore]:
        self.rows_passed += len(batch)
        device = self.model.device
        width = max(len(row.tokens) for row in batch)
        tokens = torch.zeros((len(batch), width), dtype=torch.long)
        for place, row in enumerate(batch):
            tokens[place, : len(row.tokens)] = torch.tensor(row.tokens)
        kept = sorted({index for row in batch for _, indexes in row.reads for index in indexes})
        options: dict[str, Any] = {"logits_to_keep": torch.tensor(kept, device=device)} if self._selects_logits else {}
        if any(row.branches for row in batch):
            mask, positions = tree_mask(batch, width, self.model.dtype)
            options |= {"attention_mask": mask.to(device), "position_ids": positions.to(device)}
        logits = self.model(input_ids=tokens.to(device), use_cache=False, **options).logits
        column = {index: place for place, index in enumerate(kept)} if self._selects_logits else range(width)
        found: dict[Query, TokenScore] = {}
        for place, row in enumerate(batch):
            for query, indexes in row.reads:
                read = logits[place, [column[index] for index in indexes]].float()
                target = torch.tensor(query.continuation, device=device)
                log_p = read.log_softmax(-1)
                chosen = log_p.gather(1, target[:, None])
                greedy = bool((read.argmax(-1) == target).all())
                each = token_details(log_p, target) if query.each else ()
                found[query] = TokenScore(float(chosen.double().sum()), greedy, len(indexes), each)
        return found


def _key(query: Query) -> bytes:
    return key("tokens" if query.each else "score", query.context, query.continuation)


def _stored(score: TokenScore) -> tuple[Any, ...]:
    plain = (score.log_likelihood, score.is_greedy, score.tokens)
    return (*plain, score.each) if score.each else plain


def _recalled(value: Sequence[Any]) -> TokenScore:
    total, greedy, tokens, *each = value
    return TokenScore(total, greedy, tokens, tuple(Token(*one) for one in (each[0] if each else ())))


def tree_mask(batch: Sequence[Row], width: int, dtype: torch.dtype) -> tuple[torch.Tensor, torch.Tensor]:
    """Attention mask and positions of rows that branch.

    Returns:
        An additive mask (rows, 1, width, width), 0 where a token may look, and positions (rows, width). Padding looks
        at itself, since a token that looks nowhere has no defined state.
    """
    looks = torch.zeros((len(batch), width, width), dtype=torch.bool)
    positions = torch.zeros((len(batch), width), dtype=torch.long)
    for place, row in enumerate(batch):
        for index, parent in enumerate(row.parents):
            if parent >= 0:
                looks[place, index] = looks[place, parent]
            looks[place, index, index] = True
        positions[place, : len(row.depths)] = torch.tensor(row.depths)
    looks |= torch.eye(width, dtype=torch.bool)
    mask = torch.zeros(looks.shape, dtype=dtype).masked_fill(~looks, torch.finfo(dtype).min)
    return mask[:, None], positions
