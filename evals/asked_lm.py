"""One of lm-eval's own models, asked with what our harness adds: a store of answers, checks, items that fail.

lm-eval tells a model's cache hook of each answer as it comes. This is the hook: an answer is stored at once, so that
an endpoint that dies half way has lost nothing but the request it died of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from evals.endpoint_faults import fault, guard, without_keys
from evals.harness import PromptCheck, quiet
from evals.packing import Query
from evals.responses import Responses, key
from evals.token_scores import Progress, TokenScore
from schemas.errors import AssayError, UserError

IN_PROCESS = (RuntimeError, ValueError, IndexError)
"""What a model in this process raises over an item: out of memory, too long, a token that it does not know."""


class AskedLM:
    """What `run_task` and `score_losses` ask of a model, answered by one of lm-eval's own.

    Args:
        inner: lm-eval's model.
        name: what lm-eval calls it.
        store: answers of this very model from earlier evaluations.
        errors: grows by what went wrong on items.
        progress: told of each answer.
    """

    def __init__(
        self, inner: Any, name: str, store: Responses, errors: list[str], progress: Progress | None = None
    ) -> None:
        self.inner, self.name, self.store, self.errors, self.progress = inner, name, store, errors, progress
        self.check: PromptCheck | None = None
        self.target: Callable[[Any], Any] | None = None
        """Set by `run_task`; what another engine answers is not foreseen."""
        self.failed: set[int] = set()
        """Documents of the running task that were not answered."""
        self.conversations: dict[Any, list[dict[str, str]]] = {}
        """Prompt -> the messages that it was made of, of the running task."""
        self.url: str | None = getattr(inner, "base_url", None)
        self._answers: dict[bytes, Any] = {}
        self._total = 0
        inner.cache_hook = self
        if hasattr(inner, "parse_generations") and hasattr(inner, "parse_logprobs"):
            guard(inner)

    def __getattr__(self, name: str) -> Any:
        """What lm-eval wants to know of a model beside its answers."""
        return getattr(self.inner, name)

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> Any:
        """See lm-eval; what a prompt was made of is noted in `conversations`."""
        prompt = self.inner.apply_chat_template(chat_history, add_generation_prompt=add_generation_prompt)
        self.conversations[prompt] = chat_history
        return prompt

    def loglikelihood(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        """See lm-eval; not a number where the model failed."""
        found = self._answered("loglikelihood", requests, [math.nan, False])
        return [(float(value), bool(greedy)) for value, greedy in found]

    def loglikelihood_rolling(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[float]:
        """See lm-eval; not a number where the model failed."""
        return [float(value) for value in self._answered("loglikelihood_rolling", requests, math.nan)]

    def generate_until(self, requests: Sequence[Any], disable_tqdm: bool = True) -> list[str]:
        """See lm-eval; a request that fails is noted in `failed`."""
        return [str(text) for text in self._answered("generate_until", requests, "")]

    def add_partial(self, method: str, request: Iterable[Any], answer: Any) -> None:
        """Keep an answer as soon as it is there; lm-eval calls this."""
        name = key(method, *request)
        if name in self._answers or answer is None:
            return
        self._answers[name] = answer
        self.store.put({name: answer})
        if self.progress:
            self.progress(min(len(self._answers), self._total), self._total)

    def _answered(self, method: str, requests: Sequence[Any], failed: Any) -> list[Any]:
        if self.check is not None:
            for request in requests:
                self.check(request.doc, request.args[0], request.args[1] if method == "loglikelihood" else "")
        settings = [request.args[1] for request in requests] if method == "generate_until" else []
        if any(one.get("do_sample") or one.get("temperature") for one in settings):
            return self._drawn(method, requests, failed)
        keys = [key(method, *request.args) for request in requests]
        self._answers, self._total = self.store.get(keys), len(set(keys))
        self._ask(method, dict(zip(keys, requests, strict=True)))
        if requests and not self._answers:
            raise self._silent(len(requests))
        for name, request in zip(keys, requests, strict=True):
            if name not in self._answers:
                self.failed.add(request.doc_id)
        return [self._answers.get(name, failed) for name in keys]

    def _ask(self, method: str, requests: dict[bytes, Any]) -> None:
        """Ask what is not answered yet; where that fails over an item, in halves, until it is alone."""
        waiting = {name: request for name, request in requests.items() if name not in self._answers}
        if not waiting:
            return
        try:
            found = self._call(method, list(waiting.values()))
        except Exception as error:
            if not self._over_an_item(error):
                raise
            if len(waiting) == 1:
                self.errors.append(without_keys(f"{type(error).__name__}: {error}")[:300])
                return
            pairs = list(waiting.items())
            self._ask(method, dict(pairs[: len(pairs) // 2]))
            self._ask(method, dict(pairs[len(pairs) // 2 :]))
            return
        answers = {name: answer for name, answer in zip(waiting, found, strict=True) if name not in self._answers}
        self.store.put(answers)
        self._answers |= answers

    def _drawn(self, method: str, requests: Sequence[Any], failed: Any) -> list[Any]:
        """Drawn answers differ each time: none is stored, and none stands for another."""
        self._total = len(requests)
        self.inner.cache_hook = _NoHook()
        found = []
        try:
            for request in requests:
                try:
                    found += self._call(method, [request])
                except Exception as error:
                    if not self._over_an_item(error):
                        raise
                    self.errors.append(without_keys(f"{type(error).__name__}: {error}")[:300])
                    self.failed.add(request.doc_id)
                    found.append(failed)
                if self.progress:
                    self.progress(len(found), len(requests))
        finally:
            self.inner.cache_hook = self
        if requests and len(self.failed) == len({request.doc_id for request in requests}):
            raise self._silent(len(requests))
        return found

    def _call(self, method: str, requests: list[Any]) -> list[Any]:
        try:
            found = list(getattr(self.inner, method)(requests, disable_tqdm=True))
        except NotImplementedError as error:
            raise UserError(
                f"{self.name} cannot answer this kind of task",
                where="evals.backend",
                found=method,
                help="use a backend with log-probabilities, or a task with `output_type: generate_until`",
            ) from error
        except Exception as error:
            broken = fault(error, self.url) if self.url else None
            if broken is not None:
                raise broken from error
            raise
        if len(found) != len(requests):
            raise UserError(
                f"{self.name} did not answer each request",
                where=self.url or "evals.backend",
                found=f"{len(found)} answers",
                expected=f"{len(requests)}",
            )
        return found

    def _over_an_item(self, error: Exception) -> bool:
        """Whether an error is about a request rather than about whoever answers it."""
        return not isinstance(error, AssayError) and (self.url is not None or isinstance(error, IN_PROCESS))

    def _silent(self, count: int) -> UserError:
        return UserError(
            f"{self.name} answered none of {count:,} requests",
            where=self.url or "evals.backend",
            found=self.errors[-1] if self.errors else "",
            help="try one of the prompts by hand; the arguments in evals.backend may not suit this model",
        )

    def expect(self, queries: Iterable[Query]) -> None:
        """Nothing: each request is made on its own."""

    def score(self, queries: Sequence[Query]) -> list[TokenScore]:
        """Log-likelihoods of tokens after tokens; not a number where the model failed or there is no context.

        Raises:
            UserError: the endpoint fails.
        """
        requests = {query: _request(query) for query in queries if query.context}
        keys = {query: key("loglikelihood", *request[0]) for query, request in requests.items()}
        self._answers, self._total = self.store.get(keys.values()), len(keys)
        with quiet():
            self._ask("_loglikelihood_tokens", {keys[query]: request for query, request in requests.items()})
        found = []
        for query in queries:
            value, greedy = self._answers.get(keys.get(query, b""), [math.nan, False])
            found.append(TokenScore(float(value), bool(greedy), len(query.continuation)))
        return found


def _request(query: Query) -> tuple[Any, list[int], list[int]]:
    """As lm-eval's models pass tokens on: what the answer is kept under, context, continuation."""
    context, continuation = list(query.context), list(query.continuation)
    return ("tokens", context, continuation), context, continuation


class _NoHook:
    """Takes answers that are not to be kept."""

    def add_partial(self, method: str, request: Iterable[Any], answer: Any) -> None:
        """See lm-eval."""
