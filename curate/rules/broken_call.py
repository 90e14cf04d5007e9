"""SCH122 broken-call."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar

from curate.readers.shapes import type_name
from curate.rules.base import Action, Example
from curate.structure import FUNCTION_NAME, Conversation, Flaw, StructureRule, shown
from schemas.finding import Severity


def _calling(calls: Any, role: str = "assistant") -> Example:
    return Example(
        ({"messages": [{"role": "user", "content": "a"}, {"role": role, "content": "", "tool_calls": calls}]},)
    )


class BrokenCall(StructureRule):
    """A tool call that is not shaped like one.

    ## What it does
    Reports `tool_calls` that are no list, calls that are no objects, have another `type` than function, or no function
    with a name of 1 to 64 letters, digits, underscores and hyphens; calls on turns of anybody but the assistant. A call
    that gives name and arguments without the object `function` around them is a warning.

    ## Why
    OpenAI refuses the file. Chat templates stop with an error, or print the call without its name.

    ## Known problems
    Names with dots, which some tools have, are reported as warnings: OpenAI refuses them, open models do not.

    ## Source
    OpenAI's API reference: `tool_calls` of an assistant message; Hugging Face's guide to tool use in chat templates.
    """

    code: ClassVar[str] = "SCH122"
    name: ClassVar[str] = "broken-call"
    severity: ClassVar[Severity] = Severity.ERROR
    default_action: ClassVar[Action] = Action.DROP
    help: ClassVar[str] = 'write calls as {"id": ..., "type": "function", "function": {"name": ..., "arguments": ...}}'
    fires: ClassVar[tuple[Example, ...]] = (
        _calling("get_time()"),
        _calling(["get_time"]),
        _calling([{"id": "c", "type": "function", "function": {"arguments": "{}"}}]),
        _calling([{"id": "c", "type": "function", "function": {"name": "get time", "arguments": "{}"}}]),
        _calling([{"id": "c", "type": "retrieval", "function": {"name": "f", "arguments": "{}"}}]),
        _calling([{"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}], role="user"),
        _calling([{"name": "f", "arguments": {}}]),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        _calling([{"id": "c", "type": "function", "function": {"name": "get_time-2", "arguments": "{}"}}]),
        _calling([{"type": "function", "function": {"name": "f", "arguments": {"x": 1}}}]),
        _calling([{"function": {"name": "f", "arguments": "{}"}}]),
        _calling([]),
        Example.chat("a", "tool_calls"),
    )

    @classmethod
    def flaws(cls, conversation: Conversation) -> Iterator[Flaw]:
        """One for each call that is broken."""
        for turn, message in enumerate(conversation.messages):
            if not isinstance(message, dict):
                continue
            calls, legacy = message.get("tool_calls"), message.get("function_call")
            if calls and not isinstance(calls, list):
                yield Flaw(turn, f"`tool_calls` is {type_name(calls)}", type_name(calls), "a list of calls")
            elif calls:
                for call in calls:
                    yield from cls._call(turn, call)
            if legacy and not isinstance(legacy, dict):
                yield Flaw(turn, f"`function_call` is {type_name(legacy)}", type_name(legacy), "an object")
            elif legacy:
                yield from cls._name(turn, legacy)
            role = conversation.role(turn)
            if (calls or legacy) and role != "assistant" and isinstance(role, str):
                yield Flaw(turn, f"a turn by {role[:40]!r} calls tools", role, "calls by the assistant only")

    @classmethod
    def _call(cls, turn: int, call: Any) -> Iterator[Flaw]:
        if not isinstance(call, dict):
            yield Flaw(turn, f"a tool call is {type_name(call)}", shown(call), "an object")
            return
        kind = call.get("type", "function")
        if kind != "function":
            yield Flaw(turn, f"a tool call is of the type {shown(kind)}", shown(kind), "the type 'function'")
        if "function" not in call and "name" in call:
            expected = "an object `function` around name and arguments"
            yield Flaw(
                turn, "a tool call has no `function`", "name and arguments by themselves", expected, Severity.WARNING
            )
            yield from cls._name(turn, call)
        elif not isinstance(call.get("function"), dict):
            yield Flaw(turn, "a tool call has no `function`", shown(call.get("function")), "an object `function`")
        else:
            yield from cls._name(turn, call["function"])

    @staticmethod
    def _name(turn: int, function: dict[str, Any]) -> Iterator[Flaw]:
        name = function.get("name")
        if not isinstance(name, str) or not name:
            yield Flaw(turn, "a tool call names no function", shown(name), "the name of a function")
        elif not re.fullmatch(FUNCTION_NAME, name):
            dotted = re.fullmatch(FUNCTION_NAME, name.replace(".", "_")) is not None
            message = f"a call names a function that cannot exist: {name[:80]!r}"
            expected = "1 to 64 of a-z, A-Z, 0-9, _ and -"
            yield Flaw(turn, message, name, expected, Severity.WARNING if dotted else None)
