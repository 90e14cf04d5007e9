"""Items that can be asked over HTTP as a conversation, with what is known of the judged model's answer to them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from evals.evidence import TOKENS
from evals.release.prompts import JUDGED, Prompt, Suite
from evals.release.reading import encode
from evals.release.serving import Server, answer_of, chat_body
from evals.scoring import ORIGINAL
from schemas.release import Served
from schemas.terminal import printable
from schemas.verdict import Check, Outcome

CERTAIN = math.log(0.5)
"""A continuation that is more likely than all others together is the greedy one, token by token."""
ANSWER_TOKENS = 256
"""lm-eval's own bound of an answer."""
MORE_TOKENS = 2
"""Beyond those of a choice that an answer must begin with."""
SAME_SHARE = 0.5
"""Least share of equal answers of a form that loses something: its weights were judged before; a wrong template, a
wrong tokenizer or a wrong end breaks nearly all answers, and rounding breaks few."""


@dataclass(frozen=True)
class Conversation:
    """One item to be asked."""

    prompt: Prompt
    messages: tuple[dict[str, str], ...]
    expected: str
    whole: bool
    """Whether the answer must be `expected`; otherwise it must begin with it."""
    stop: tuple[str, ...]
    most: int
    """Tokens of the answer at most."""

    def same(self, answered: str) -> bool:
        """Whether an answer is the recorded one, but for white space around it."""
        expected, said = self.expected.strip(), answered.strip()
        return said == expected if self.whole else said.startswith(expected)


@dataclass(frozen=True)
class Known:
    """The judged model's greedy answer to a row of the dataset."""

    text: str
    whole: bool
    """Whether it ends there; otherwise it begins so."""
    tokens: int


def known_answers(results: Path, tokenizer: Any) -> dict[str, Known]:
    """Row id -> the greedy answer, of test rows whose own answer is that: each of its tokens was the likeliest.

    Args:
        results: stage folder of evals.
        tokenizer: the judged model's.
    """
    table = pl.read_parquet(results / TOKENS, columns=["model", "split", "variant", "row_id", "runs", "ids", "greedy"])
    rows = table.filter(pl.col("model") == JUDGED, pl.col("split") == "test", pl.col("variant") == ORIGINAL)
    found = {}
    for row_id, runs, ids, greedy in rows.select("row_id", "runs", "ids", "greedy").iter_rows():
        length = runs[-1] if runs else 0
        answer, likeliest = ids[len(ids) - length :], greedy[len(greedy) - length :]
        if not length or len(likeliest) != length or not all(likeliest):
            continue
        ends = [place for place, token in enumerate(answer) if token == tokenizer.eos_token_id]
        said = answer[: ends[0]] if ends else answer
        found[row_id] = Known(str(tokenizer.decode(said)), bool(ends), length)
    return found


def conversations(
    suites: Sequence[Suite], prompts: Sequence[Prompt], known: Mapping[str, Known], tokenizer: Any, count: int
) -> list[Conversation]:
    """The first items of which both the messages and the judged model's greedy answer are known.

    The answer is known where it was recorded word for word; where every token of the row's own answer was recorded to
    be the likeliest; and where a recorded choice was more likely than everything else together.

    Args:
        suites: the tasks.
        prompts: of all their items.
        known: of `known_answers`.
        tokenizer: the judged model's.
        count: most items.
    """
    by_name = {suite.name: suite for suite in suites}
    found: list[Conversation] = []
    for prompt in prompts:
        if len(found) == count:
            break
        one = _conversation(by_name[prompt.task], prompt, known.get(prompt.item_id), tokenizer)
        found += [one] if one else []
    return found


def _conversation(suite: Suite, prompt: Prompt, known: Known | None, tokenizer: Any) -> Conversation | None:
    messages = _messages(prompt, tokenizer)
    if messages is None or suite.drawn:
        return None
    if suite.generates:
        if suite.filters:
            return None
        until = prompt.generation.get("until") or ()
        stop = tuple([until] if isinstance(until, str) else until)
        most = int(prompt.generation.get("max_gen_toks") or ANSWER_TOKENS)
        return Conversation(prompt, messages, prompt.answer, True, stop, most)
    if known is not None:
        return Conversation(prompt, messages, known.text, known.whole, (), known.tokens + MORE_TOKENS)
    best = max(prompt.choices, key=lambda one: one.log_likelihood, default=None)
    if best is None or best.log_likelihood <= CERTAIN or not best.text.strip():
        return None
    return Conversation(prompt, messages, best.text, False, (), len(encode(tokenizer, best.text)) + MORE_TOKENS)


def _messages(prompt: Prompt, tokenizer: Any) -> tuple[dict[str, str], ...] | None:
    """The conversation that the judged model's template makes exactly this prompt of; null where none is known."""
    user, system = (str(prompt.document.get(name) or "") for name in ("user", "system"))
    made = ({"role": "system", "content": system},) if system else ()
    for messages in (prompt.messages, (*made, {"role": "user", "content": user})):
        if messages is None or messages[-1].get("role") != "user":
            continue
        try:
            text = tokenizer.apply_chat_template(list(messages), tokenize=False, add_generation_prompt=True)
        except Exception:  # there is no template, or it refuses the conversation, each in its own way
            continue
        if text == prompt.context:
            return tuple(messages)
    return None


def ask(server: Server, model: str | None, asked: Sequence[Conversation]) -> tuple[Served, ...]:
    """Ask a server every item, one after the other.

    Raises:
        NotAnsweredError: it does not answer one.
    """
    found = []
    for one in asked:
        answer = answer_of(server.post("/v1/chat/completions", chat_body(model, one.messages, one.stop, one.most)))
        cut = min((place for stop in one.stop if (place := answer.find(stop)) >= 0), default=len(answer))
        said = answer[:cut]
        found.append(
            Served(
                task=one.prompt.task,
                item_id=one.prompt.item_id,
                recorded=one.expected,
                answered=said,
                same=one.same(said),
            )
        )
    return tuple(found)


def answers_check(name: str, answers: Sequence[Served], *, lossless: bool) -> Check:
    """Whether a server's answers are the recorded ones: all of them, or at least half where the form loses something.

    Args:
        name: of the check.
        answers: of the server.
        lossless: of the form.
    """
    same = sum(one.same for one in answers)
    facts = {"asked": len(answers), "same": same}
    required = {"same_share": 1.0 if lossless else SAME_SHARE}
    if not answers:
        said = "no item can be asked as a conversation whose answer is on record"
        advice = "add a suite that asks with the chat template and records whole answers, or choices that are certain"
        return Check(
            name=name, outcome=Outcome.INCONCLUSIVE, message=said, measured=facts, required=required, help=advice
        )
    enough = same == len(answers) if lossless else same >= SAME_SHARE * len(answers)
    said = f"{same} of {len(answers)} answers over HTTP are the recorded ones"
    other = next((one for one in answers if not one.same), None)
    if other is not None:
        said += f"; {_short(other.recorded)} became {_short(other.answered)} on {printable(other.item_id)[:40]}"
    advice = "" if enough else "compare template, stop tokens and tokenizer of what is served with the judged model's"
    outcome = Outcome.PASS if enough else Outcome.FAIL
    return Check(name=name, outcome=outcome, message=said, measured=facts, required=required, help=advice)


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:59]}…")
