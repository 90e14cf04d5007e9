"""SCH123 broken-arguments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import orjson

from curate.readers.builder import loads
from curate.readers.shapes import type_name
from curate.rules.base import Action, Example
from curate.structure import Call, Conversation, Flaw, StructureRule, shown
from schemas.finding import Severity

NOTHING = object()


def _with(arguments: Any = NOTHING) -> Example:
    function = {"name": "f"} if arguments is NOTHING else {"name": "f", "arguments": arguments}
    call = {"id": "c", "type": "function", "function": function}
    answer = {"role": "assistant", "content": None, "tool_calls": [call]}
    return Example(({"messages": [{"role": "user", "content": "a"}, answer]},))


class BrokenArguments(StructureRule):
    """Arguments of a tool call that no program can read.

    ## What it does
    Reports calls whose `arguments` are missing, text that is not JSON, JSON that is no object, or neither text nor an
    object.

    ## Why
    The model learns to write calls that fail. OpenAI refuses the file; chat templates that read the arguments stop.

    ## Known problems
    None known.

    ## Source
    OpenAI's API reference: `function.arguments` is JSON as text; Hugging Face's chat templates also take an object.
    """

    code: ClassVar[str] = "SCH123"
    name: ClassVar[str] = "broken-arguments"
    severity: ClassVar[Severity] = Severity.ERROR
    default_action: ClassVar[Action] = Action.DROP
    help: ClassVar[str] = "write the arguments as a JSON object; a function without parameters takes {}"
    fires: ClassVar[tuple[Example, ...]] = (
        _with("{'city': 'Oslo'}"),
        _with('{"city": "Oslo"'),
        _with(""),
        _with('["Oslo"]'),
        _with('{"x": NaN}'),
        _with(5),
        _with(None),
        _with(),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        _with("{}"),
        _with(' {"city": "Oslo"}'),
        _with({"city": "Oslo"}),
        _with({}),
    )

    @classmethod
    def flaws(cls, conversation: Conversation) -> Iterator[Flaw]:
        """One for each call whose arguments cannot be read."""
        for call in conversation.calls:
            flaw = cls._flaw(call)
            if flaw is not None:
                yield flaw

    @staticmethod
    def _flaw(call: Call) -> Flaw | None:
        given, expected = call.arguments, "a JSON object"
        if isinstance(given, dict):
            return None
        name = f"the call of {call.name[:64]!r}" if call.name else "a call"
        if not isinstance(given, str):
            found = type_name(given) if call.given else "nothing"
            what = f"arguments that are {found}" if call.given else "no arguments"
            return Flaw(call.turn, f"{name} has {what}", found, expected)
        try:
            value = loads(given)
        except orjson.JSONDecodeError as error:
            message = f"{name} has arguments that are not JSON: {error.msg} at character {error.pos + 1}"
            return Flaw(call.turn, message, shown(given), expected)
        if isinstance(value, dict):
            return None
        return Flaw(call.turn, f"{name} has arguments that are {type_name(value)}", shown(given), expected)
