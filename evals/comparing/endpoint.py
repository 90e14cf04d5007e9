"""Asking an OpenAI-compatible chat endpoint, one conversation at a time."""

from __future__ import annotations

import contextlib
import json
import os
import time
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from evals.backends import is_loopback
from evals.comparing.prompting import Conversation, Message, Speaker
from evals.comparing.setting import Answer
from evals.endpoint_faults import Garbled, chat_answer, fault, without_keys
from evals.responses import Responses, key
from schemas.compare_config import EndpointConfig
from schemas.errors import UserError
from schemas.progress import Progress

SECTION = "compare.endpoint"
BUSY = frozenset((408, 409, 429, 500, 502, 503, 504))
"""HTTP states after which the same request may succeed."""
WAIT_S, LONGEST_WAIT_S = 1.0, 30.0
MOST_BYTES = 1 << 24
MOST_TOKENS = 1 << 31
COUNTS = ("prompt_tokens", "completion_tokens")
TURN_FIELDS = ("role", "content", "name", "tool_calls", "tool_call_id")
"""What of a message is sent; the rest is about training."""


class Refused(Exception):
    """The endpoint answered with an HTTP state that is no success."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(f"HTTP {status} {said}".strip())
        self.status = status


class ChatEndpoint:
    """One model at an endpoint.

    Args:
        config: the section `compare.endpoint`.
        speaker: counts tokens where the endpoint does not.
        runs: the folder of all results, where answers are kept.
        progress: told of each answer, and of where items are sent.

    Raises:
        UserError: the variable that is to hold its key is not set.
    """

    def __init__(self, config: EndpointConfig, speaker: Speaker, runs: Path, progress: Progress) -> None:
        self._config, self._speaker, self._runs, self._progress = config, speaker, runs, progress
        self._secrets = () if config.api_key_env is None else (config.api_key_env,)
        self._headers = {"Content-Type": "application/json"}
        if config.api_key_env is not None:
            value = os.environ.get(config.api_key_env, "").strip()
            if not value:
                raise UserError(
                    "the endpoint needs a key",
                    where=f"{SECTION}.api_key_env",
                    found=f"no variable {config.api_key_env}",
                    help="set it in the environment",
                )
            self._headers["Authorization"] = f"Bearer {value}"
        if not is_loopback(config.base_url):
            progress.say(f"the items are sent to {urlsplit(config.base_url).netloc}")

    def ask(self, asked: Sequence[Conversation]) -> list[Answer]:
        """The answers; those that are known are not asked again.

        Raises:
            UserError: the endpoint cannot be reached, refuses, or answers in another form than agreed.
        """
        identity = {"endpoint": self._config.base_url, "model": self._config.model}
        answers = []
        with contextlib.closing(Responses(self._runs, identity)) as store:
            for place, one in enumerate(asked):
                name = key("chat", self._body(one))
                known = store.get([name]).get(name)
                answer = self._answer(one) if known is None else Answer(*known)
                if known is None and not answer.failed:
                    store.put({name: list(answer)})
                answers.append(answer)
                self._progress.advance(place + 1, len(asked))
        return answers

    def timed(self, asked: Conversation) -> tuple[Answer, float]:
        """One answer, asked anew, and the seconds that it took."""
        start = time.perf_counter()
        answer = self._answer(asked)
        return answer, time.perf_counter() - start

    def _body(self, asked: Conversation) -> dict[str, Any]:
        body = {
            "model": self._config.model,
            "messages": [_as_sent(turn) for turn in asked.messages],
            "max_tokens": self._speaker.most,
            "temperature": 0,
        }
        return body | ({"tools": list(asked.tools)} if asked.tools else {})

    def _answer(self, asked: Conversation) -> Answer:
        try:
            reply = self._patiently(asked)
            text = chat_answer(reply).strip().encode("utf-8", "replace").decode()  # half a surrogate pair is no text
        except Exception as error:  # whatever a server and the libraries on the way to it can do
            broken = fault(error, self._config.base_url, SECTION)
            if broken is not None:
                raise self._without_key(broken) from None  # the cause may quote the key
            return Answer("", 0, 0, without_keys(f"{type(error).__name__}: {error}", *self._secrets)[:300])
        usage = reply.get("usage")
        known = [usage.get(name) if isinstance(usage, dict) else None for name in COUNTS]
        read, wrote = [count if isinstance(count, int) and 0 <= count < MOST_TOKENS else None for count in known]
        if read is None or wrote is None:
            read, wrote = len(self._speaker.prompt(asked)[0]), self._speaker.count(text)
        return Answer(text, read, wrote)

    def _patiently(self, asked: Conversation) -> Any:
        """The reply; a request that the endpoint was too busy for is made again, each time after a longer wait."""
        for attempt in range(self._config.retries):
            try:
                return self._post(self._body(asked))
            except Refused as error:
                if error.status not in BUSY:
                    raise
                time.sleep(min(WAIT_S * 2**attempt, LONGEST_WAIT_S))
        return self._post(self._body(asked))

    def _post(self, body: Mapping[str, Any]) -> Any:
        data = json.dumps(body, ensure_ascii=False).encode("utf-8", "replace")
        request = urllib.request.Request(self._config.base_url, data, self._headers)
        try:
            with _OPENER.open(request, timeout=self._config.timeout) as response:
                said = response.read(MOST_BYTES)
        except urllib.error.HTTPError as error:
            with error:
                raise Refused(error.code, error.read(2000).decode("utf-8", "replace")) from None
        except urllib.error.URLError as error:
            raise error.reason if isinstance(error.reason, Exception) else error from None
        try:
            return json.loads(said)
        except (ValueError, RecursionError) as error:
            raise Garbled(f"no JSON: {said[:200]!r}") from error

    def _without_key(self, error: UserError) -> UserError:
        (problem,) = error.problems
        said = without_keys(problem.found, *self._secrets)
        return UserError(problem.what, where=problem.where, found=said, help=problem.help)


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    """An address that leads elsewhere is not followed: the key would travel along."""

    def redirect_request(self, *_: Any, **__: Any) -> None:
        """Never."""


_OPENER = urllib.request.build_opener(_NoRedirect)


def _as_sent(turn: Message) -> dict[str, Any]:
    return {
        name: turn[name] for name in TURN_FIELDS if turn.get(name) is not None or (name == "content" and name in turn)
    }
