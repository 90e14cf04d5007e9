"""SCH126 undeclared-tool."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from curate.rules.base import Example
from curate.structure import Conversation, Flaw, StructureRule
from schemas.finding import Severity


def _with(tools: Any) -> Example:
    call = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
    answer = {"role": "assistant", "content": None, "tool_calls": [call]}
    return Example(({"messages": [{"role": "user", "content": "a"}, answer]} | ({"tools": tools} if tools else {}),))


class UndeclaredTool(StructureRule):
    """A call of a tool that the row does not declare.

    ## What it does
    Reports calls whose name is none of the row's `tools` (or `functions`). Rows that call tools and declare none at all
    are reported for information.

    ## Why
    The model learns to call tools that it was not given: it will make up names.

    ## Known problems
    Tools that a system prompt describes in words are not seen; such rows get the information only.

    ## Source
    OpenAI's guide to fine-tuning with tools; Hugging Face's guide to tool use.
    """

    code: ClassVar[str] = "SCH126"
    name: ClassVar[str] = "undeclared-tool"
    severity: ClassVar[Severity] = Severity.WARNING
    help: ClassVar[str] = "add the tool to the row's `tools`, or correct the name in the call"
    fires: ClassVar[tuple[Example, ...]] = (
        _with([{"type": "function", "function": {"name": "clock"}}]),
        _with([{"type": "function", "function": {"name": "Weather"}}]),
        _with(None),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        _with([{"type": "function", "function": {"name": "weather"}}]),
        _with([{"name": "clock"}, {"name": "weather"}]),
        _with('[{"name": "weather"}]'),
        Example.chat("a", "weather()"),
    )

    @classmethod
    def flaws(cls, conversation: Conversation) -> Iterator[Flaw]:
        """One for each call of an unknown tool."""
        declared = conversation.declared
        level = None if conversation.tools or conversation.extra.get("functions") else Severity.INFO
        expected = f"one of {', '.join(list(declared)[:8])[:200]}" if declared else "`tools` that declare it"
        for call in conversation.calls:
            if call.name is not None and call.name not in declared:
                message = f"the tool {call.name[:64]!r} is called but not declared"
                yield Flaw(call.turn, message, call.name, expected, level)
