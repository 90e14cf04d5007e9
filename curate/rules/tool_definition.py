"""SCH130 tool-definition."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, ClassVar

import orjson

from curate.readers.shapes import type_name
from curate.rules.base import Example
from curate.structure import FUNCTION_NAME, Conversation, Flaw, StructureRule, compiled_schema, function_of, shown
from schemas.finding import Severity

A_TOOL = "a function with name, description and parameters"


def _tools(tools: Any, **more: Any) -> Example:
    row = {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}], "tools": tools}
    return Example((row | more,))


def _function(name: Any = "f", **more: Any) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name} | more}


class ToolDefinition(StructureRule):
    """Declared tools that are no list of function definitions.

    ## What it does
    Reports `tools` (and `functions`) that are no list, entries without a function, names that are not 1 to 64 letters,
    digits, underscores and hyphens, names given twice, and `parameters` that are no JSON Schema of an object. Text is
    read as JSON first. An entry without `function` around it is a warning where OpenAI's shape is used.

    ## Why
    OpenAI refuses the file. Chat templates print what they are given: the model learns declarations that no caller
    will send.

    ## Known problems
    Types that are written as in Python (`dict`, `str`) are reported, as a warning; some published sets have them.

    ## Source
    OpenAI's API reference, `tools`; JSON Schema.
    """

    code: ClassVar[str] = "SCH130"
    name: ClassVar[str] = "tool-definition"
    severity: ClassVar[Severity] = Severity.ERROR
    help: ClassVar[str] = 'declare tools as [{"type": "function", "function": {"name": ..., "parameters": {...}}}]'
    fires: ClassVar[tuple[Example, ...]] = (
        _tools("get_time()"),
        _tools({"name": "f"}),
        _tools(["f"]),
        _tools([_function("get time")]),
        _tools([_function("f" * 65)]),
        _tools([{"type": "function"}]),
        _tools([_function(), _function()]),
        _tools([_function(parameters="none")]),
        _tools([_function(parameters={"type": "dict"})]),
        _tools([_function(parameters={"type": "array"})]),
        _tools([{"name": "f"}]),
        _tools([_function()], parallel_tool_calls="no"),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        _tools([_function(parameters={"type": "object", "properties": {"x": {"type": "integer"}}})]),
        _tools([_function(), _function("f-2")], parallel_tool_calls=False),
        _tools([_function(parameters={})]),
        _tools([]),
        _tools(None),
        _tools('[{"type": "function", "function": {"name": "f"}}]'),
        Example(
            (
                {
                    "conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}],
                    "tools": '[{"name": "f"}]',
                },
            )
        ),
    )

    @classmethod
    def flaws(cls, conversation: Conversation) -> Iterator[Flaw]:
        """One for each fault of a declaration, with a null turn."""
        if conversation.first:
            return  # said of the other answer already
        parallel = conversation.extra.get("parallel_tool_calls")
        if parallel is not None and not isinstance(parallel, bool):
            yield Flaw(None, f"`parallel_tool_calls` is {type_name(parallel)}", shown(parallel), "true or false")
        functions = conversation.extra.get("functions")
        for key, tools in (("tools", conversation.tools), ("functions", functions)):
            if tools is None or tools == "":
                continue
            if not isinstance(tools, list):
                yield Flaw(None, f"`{key}` is {type_name(tools)}", shown(tools), "a list of function definitions")
                continue
            names: set[str] = set()
            for position, tool in enumerate(tools):
                where = f"`{key}[{position}]`"
                if key == "tools" and conversation.shape != "sharegpt" and isinstance(tool, dict) and "name" in tool:
                    found, wrapped = "a function by itself", "an object `function` around it"
                    yield Flaw(None, f"{where} has no `function`", found, wrapped, Severity.WARNING)
                yield from cls._tool(tool, where, names)

    @classmethod
    def _tool(cls, tool: Any, where: str, names: set[str]) -> Iterator[Flaw]:
        function = function_of(tool)
        if function is None or not isinstance(name := function.get("name"), str):
            yield Flaw(None, f"{where} defines no function", shown(tool), A_TOOL)
            return
        kind = tool.get("type", "function")
        if kind != "function" and "function" in tool:
            yield Flaw(None, f"{where} is of the type {shown(kind)}", shown(kind), "the type 'function'")
        if not re.fullmatch(FUNCTION_NAME, name):
            dotted = re.fullmatch(FUNCTION_NAME, name.replace(".", "_")) is not None
            expected = "1 to 64 of a-z, A-Z, 0-9, _ and -"
            level = Severity.WARNING if dotted else None
            yield Flaw(None, f"{where} has the name {name[:80]!r}", name, expected, level)
        if name in names:
            yield Flaw(None, f"the tool {name[:64]!r} is declared twice", name, "each name once")
        names.add(name)
        yield from cls._parameters(function.get("parameters"), where)

    @staticmethod
    def _parameters(parameters: Any, where: str) -> Iterator[Flaw]:
        if parameters is None or parameters == {}:
            return
        if not isinstance(parameters, dict):
            yield Flaw(None, f"the parameters of {where} are {type_name(parameters)}", shown(parameters), "an object")
        elif (kind := parameters.get("type", "object")) != "object":
            level = Severity.WARNING if kind == "dict" else None
            yield Flaw(None, f"the parameters of {where} are of the type {shown(kind)}", shown(kind), "'object'", level)
        elif compiled_schema(orjson.dumps(parameters)) is None:
            found = "what the schema library does not take"
            message = f"the parameters of {where} are no JSON Schema that can be used"
            yield Flaw(None, message, found, "a JSON Schema without references to the outside", Severity.WARNING)
