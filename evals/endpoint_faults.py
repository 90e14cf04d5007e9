"""What an endpoint can do wrong, in one error each, and answers that are not what they should be.

lm-eval reads what it gets: a missing answer becomes an empty text, a missing log-probability a sum over nothing. So the
shape of each answer is checked before it is read.
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from typing import Any

from schemas.errors import UserError
from schemas.terminal import printable

ABOUT_THE_ITEM = frozenset((400, 413, 422))
"""HTTP states that blame the request: the item is too long, or a rule of the endpoint refuses it."""
KEY_VARIABLES = ("ANTHROPIC_API_KEY", "AZURE_OPENAI_API_KEY", "OPENAI_API_KEY")
BACKEND = "evals.backend"
SHOWN = 300


class Garbled(Exception):
    """An answer of an endpoint that is not of the agreed form."""


class NoAnswer(Exception):
    """The endpoint answered, and said nothing."""


def fault(error: Exception, url: str, section: str = BACKEND) -> UserError | None:
    """The error of an endpoint that nothing more can be asked of; null where it is about one item.

    Args:
        error: as whoever asks lets it pass, after its own retries.
        url: the endpoint's address.
        section: of the config, which names the endpoint.
    """
    response = getattr(error, "response", None)
    status = getattr(response, "status_code", None) or getattr(error, "status", None)
    if isinstance(error, NoAnswer) or status in ABOUT_THE_ITEM:
        return None
    found = without_keys(f"{type(error).__name__}: {error} {getattr(response, 'text', '')[:SHOWN]}".strip())
    if isinstance(status, int) and status >= 300:
        what, advice = _of_status(status, section)
    elif isinstance(error, OSError) and not isinstance(error, ValueError):
        what, advice = _of_system(error, section)
    elif type(error).__module__.startswith("aiohttp") and status is None:
        what, advice = "the endpoint stopped answering", "start it again"
    elif isinstance(error, ValueError | LookupError | TypeError | AttributeError | AssertionError | Garbled) or status:
        what = "the endpoint's answer cannot be read"
        advice = "the address must be the full path of an OpenAI-compatible endpoint that serves this model"
    else:
        return None
    help = f"{advice}; what was answered so far is kept, and the same command goes on from there"
    return UserError(what, where=url, found=found[:SHOWN], help=help)


def _of_status(status: int, section: str) -> tuple[str, str]:
    if status in (401, 403):
        variable = "OPENAI_API_KEY" if section == BACKEND else f"{section}.api_key_env names the variable"
        return "the endpoint does not let us in", f"set its key in the environment ({variable})"
    if status == 404:
        return (
            "the endpoint does not know this address or this model",
            "compare `base_url` and `model` with its own list",
        )
    if status == 429:
        return (
            "the endpoint has had too many requests",
            f"wait, or let {section} ask less at a time or repeat more often",
        )
    if status >= 500:
        return "the endpoint failed", "look into its log, and start it again"
    return "the endpoint refuses the request", f"compare the arguments in {section} with its documentation"


def _of_system(error: OSError, section: str) -> tuple[str, str]:
    if "timeout" in type(error).__name__.lower():
        return "the endpoint does not answer in time", f"raise `timeout` (seconds) in {section}"
    return "the endpoint cannot be reached", f"start it, or correct `base_url` in {section}"


def without_keys(text: str, *variables: str) -> str:
    """A text to be shown, less the keys in the environment, which a server may repeat.

    Args:
        text: to be shown.
        variables: further ones that hold keys.
    """
    for name in (*KEY_VARIABLES, *variables):
        key = os.environ.get(name)
        text = text.replace(key, f"${name}") if key else text
    return printable(text)


def guard(lm: Any) -> None:
    """Let lm-eval's model for an endpoint check what it gets before it reads it."""
    read_texts, read_scores = lm.parse_generations, lm.parse_logprobs

    def texts(outputs: Any, **more: Any) -> list[str]:
        count = len(more["contexts"]) if "contexts" in more else None
        for choice in _choices(outputs, count):
            _check_text(choice["text"] if "text" in choice else _content(choice))
        found: list[str] = read_texts(outputs=outputs, **more)
        return found

    def scores(outputs: Any, tokens: Any = None, ctxlens: Any = None, **more: Any) -> list[tuple[float, bool]]:
        choices = _choices(outputs, len(ctxlens))
        for place, choice in enumerate(sorted(choices, key=lambda one: int(one["index"]))):
            asked = tokens[place] if isinstance(tokens[place], list) else None
            _check_scores(choice.get("logprobs"), ctxlens[place], asked)
        found: list[tuple[float, bool]] = read_scores(outputs=outputs, tokens=tokens, ctxlens=ctxlens, **more)
        return found

    lm.parse_generations, lm.parse_logprobs = texts, scores


def chat_answer(reply: Any) -> str:
    """The text in a chat endpoint's reply to one conversation.

    Raises:
        NoAnswer: it says nothing.
        Garbled: it is not of the agreed form.
    """
    return _check_text(_content(_choices(reply, 1)[0]))


def _check_text(text: Any) -> str:
    if text is None:
        raise NoAnswer("the answer is empty; it may have been refused, or all tokens went into reasoning")
    if not isinstance(text, str):
        raise Garbled(f"{type(text).__name__} instead of a text")
    return text


def _choices(outputs: Any, count: int | None) -> list[dict[str, Any]]:
    found = []
    for output in outputs if isinstance(outputs, list) else [outputs]:
        choices = output.get("choices") if isinstance(output, dict) else None
        if not isinstance(choices, list) or not choices or not all(isinstance(one, dict) for one in choices):
            raise Garbled(f"no `choices` in {str(output)[:200]}")
        if sorted(str(one.get("index")) for one in choices) != sorted(map(str, range(len(choices)))):
            raise Garbled("`choices` are not numbered")
        found += choices
    if count is not None and len(found) != count:
        raise Garbled(f"{len(found)} answers to {count} prompts")
    return found


def _content(choice: dict[str, Any]) -> Any:
    message = choice.get("message")
    if not isinstance(message, dict) or "content" not in message:
        raise Garbled("neither `text` nor `message.content` in a choice")
    return message["content"]


def _check_scores(found: Any, context: int, asked: Sequence[int] | None) -> None:
    """One log-probability for each token of the prompt, the one that was generated after it included."""
    values = found.get("token_logprobs") if isinstance(found, dict) else None
    tops = found.get("top_logprobs") if isinstance(found, dict) else None
    if not isinstance(values, list) or not isinstance(tops, list) or len(tops) != len(values):
        raise Garbled("no `token_logprobs` and `top_logprobs` of the prompt: the server must support `echo`")
    if len(values) <= context + 1 or (asked is not None and len(values) != len(asked) + 1):
        expected = f"{len(asked)} tokens of the prompt" if asked is not None else f"more than {context} tokens"
        raise Garbled(f"{len(values)} log-probabilities for {expected} and one more: the server must support `echo`")
    read = values[context:-1]
    if not all(isinstance(value, int | float) and math.isfinite(value) for value in read):
        raise Garbled("a log-probability that is no number")
