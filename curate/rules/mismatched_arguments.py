"""SCH125 mismatched-arguments."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import orjson

from curate.json_schema import mismatches
from curate.readers.builder import loads
from curate.rules.base import Example
from curate.structure import Call, Conversation, Flaw, StructureRule, compiled_schema
from schemas.finding import Severity

WEATHER = {
    "type": "object",
    "properties": {"city": {"type": "string"}, "unit": {"enum": ["C", "F"]}},
    "required": ["city"],
}


def _with(arguments: Any, parameters: Any = WEATHER, name: str = "weather") -> Example:
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": arguments}}
    answer = {"role": "assistant", "content": None, "tool_calls": [call]}
    tool = {"type": "function", "function": {"name": name, "parameters": parameters}}
    return Example(({"messages": [{"role": "user", "content": "a"}, answer], "tools": [tool]},))


class MismatchedArguments(StructureRule):
    """Arguments that the declaration of the called tool does not allow.

    ## What it does
    Checks the arguments of each call against the `parameters` of the tool of that name (JSON Schema) and names the
    first place that does not fit.

    ## Why
    The model learns to leave out what a tool requires, or to pass what it does not take.

    ## Known problems
    Parameters that are no JSON Schema (see tool-definition), that refer to something outside themselves, or that hold
    more than 32 references are not checked. Formats such as dates are not checked.

    ## Source
    JSON Schema, drafts 4 to 2020-12; OpenAI's guide to function calling.
    """

    code: ClassVar[str] = "SCH125"
    name: ClassVar[str] = "mismatched-arguments"
    severity: ClassVar[Severity] = Severity.WARNING
    help: ClassVar[str] = "correct the call, or the declaration of the tool"
    fires: ClassVar[tuple[Example, ...]] = (
        _with("{}"),
        _with('{"city": 5}'),
        _with({"city": "Oslo", "unit": "K"}),
        _with('{"city": "Oslo"}', {"type": "object", "properties": {}, "additionalProperties": False}),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        _with('{"city": "Oslo"}'),
        _with({"city": "Oslo", "unit": "C"}),
        _with('{"city": "Oslo", "more": 1}'),
        _with("{}", name="clock"),
        _with("{}", parameters={"type": "dict", "required": ["city"]}),
        _with('{"a": 1}', parameters={"$ref": "https://example.com/schema.json"}),
        _with("{", parameters=WEATHER),
        _with("{}", parameters=None),
    )

    @classmethod
    def flaws(cls, conversation: Conversation) -> Iterator[Flaw]:
        """One for each call that does not fit."""
        for call in conversation.calls:
            parameters = conversation.declared.get(call.name) if call.name else None
            if isinstance(parameters, dict) and parameters:
                yield from cls._checked(call, parameters)

    @staticmethod
    def _checked(call: Call, parameters: dict[str, Any]) -> Iterator[Flaw]:
        given = call.arguments
        if isinstance(given, str):
            try:
                given = loads(given)
            except orjson.JSONDecodeError:
                return  # broken-arguments reports it
        if not isinstance(given, dict):
            return
        validator = compiled_schema(orjson.dumps(parameters))
        if validator is None:
            return
        first = next(mismatches(validator, given), None)
        if first is not None:
            message = (
                f"the arguments of {str(call.name)[:64]!r} do not fit its parameters at {first.path}: {first.message}"
            )
            yield Flaw(call.turn, message, first.found, f"as parameters/{first.expected} says")
