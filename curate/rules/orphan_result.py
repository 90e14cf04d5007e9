"""SCH129 orphan-result."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from curate.rules.base import Example
from curate.structure import Conversation, Flaw, StructureRule
from schemas.finding import Severity


def _with(*results: str | None, own: str | None = "a", calls: bool = True) -> Example:
    call = {"type": "function", "function": {"name": "f", "arguments": "{}"}} | ({"id": own} if own else {})
    said: dict[str, Any] = {"role": "assistant", "content": "<tool_call>f()</tool_call>"}
    messages = [{"role": "user", "content": "a"}, said | ({"tool_calls": [call]} if calls else {})]
    messages += [{"role": "tool", "content": "1"} | ({"tool_call_id": name} if name else {}) for name in results]
    return Example(({"messages": [*messages, {"role": "assistant", "content": "done"}]},))


class OrphanResult(StructureRule):
    """The result of a tool that belongs to no call.

    ## What it does
    Reports tool messages that stand behind no call, name a call that the turn before does not make, answer a call for
    the second time, or name no call although calls have ids. Where no turn of the row calls a tool in a field of its
    own, calls may be written in the text: that is a warning, at the first result.

    ## Why
    OpenAI refuses the file, and templates that look up the call of a result stop.

    ## Known problems
    ShareGPT rows have no ids, and are not looked at.

    ## Source
    OpenAI's API reference, `tool_call_id`, and its error for messages with the role tool.
    """

    code: ClassVar[str] = "SCH129"
    name: ClassVar[str] = "orphan-result"
    severity: ClassVar[Severity] = Severity.ERROR
    help: ClassVar[str] = "give the result the id of its call as `tool_call_id`, and put it right behind the call"
    fires: ClassVar[tuple[Example, ...]] = (
        _with("z"),
        _with("a", "a"),
        _with(None),
        _with("a", calls=False),
        _with(None, calls=False),
        _with("a", own=None),
        Example(({"messages": [{"role": "tool", "content": "1"}, {"role": "assistant", "content": "b"}]},)),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        _with("a"),
        _with(None, own=None),
        Example.chat("a", "b"),
        Example(
            (
                {
                    "conversations": [
                        {"from": "human", "value": "a"},
                        {"from": "function_call", "value": '{"name": "f", "arguments": {}}'},
                        {"from": "observation", "value": "1"},
                        {"from": "gpt", "value": "b"},
                    ]
                },
            )
        ),
    )

    @classmethod
    def flaws(cls, conversation: Conversation) -> Iterator[Flaw]:
        """One for each result without its call."""
        if conversation.shape == "sharegpt":
            return
        results = [turn for turn in range(len(conversation.messages)) if conversation.role(turn) == "tool"]
        by_turn: dict[int, list[str | None]] = {}
        for call in conversation.calls:
            if not call.legacy:
                by_turn.setdefault(call.turn, []).append(call.id)
        if results and not by_turn:
            message = "a tool gives its result, but no turn of the row calls one"
            yield Flaw(results[0], message, "no `tool_calls`", "a call before the result", Severity.WARNING)
            return
        answered: set[tuple[int, str]] = set()
        for turn in results:
            start = turn
            while start and conversation.role(start) == "tool":
                start -= 1
            yield from cls._result(conversation.messages[turn], turn, by_turn.get(start), start, answered)

    @staticmethod
    def _result(
        message: dict[str, Any], turn: int, ids: list[str | None] | None, start: int, answered: set[tuple[int, str]]
    ) -> Iterator[Flaw]:
        own = message.get("tool_call_id")
        if ids is None:
            yield Flaw(turn, "the result of a tool follows no call", "no call before it", "a turn with `tool_calls`")
        elif not isinstance(own, str) or not own:
            if any(ids):
                yield Flaw(turn, "the result of a tool names no call", "no `tool_call_id`", "the id of a call")
        elif own not in ids:
            known = ", ".join(repr(name[:40]) for name in ids[:4] if name) or "calls with ids"
            yield Flaw(turn, f"the result of a tool names a call that is not there: {own[:60]!r}", own, known)
        elif (start, own) in answered:
            yield Flaw(turn, f"the call {own[:60]!r} has two results", own, "one result for each call")
        else:
            answered.add((start, own))
