"""SCH131 legacy-call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from curate.rules.base import Example
from curate.structure import Conversation, Flaw, StructureRule
from schemas.finding import Severity

CALL = {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}}


def _chat(*more: dict[str, Any], **beside: Any) -> Example:
    messages = [{"role": "user", "content": "a"}, *more, {"role": "assistant", "content": "b"}]
    return Example(({"messages": messages} | beside,))


class LegacyCall(StructureRule):
    """Calls in the form that OpenAI gave up in 2023.

    ## What it does
    Reports turns with `function_call`, turns of the role function, and rows with `functions`; one finding a row.

    ## Why
    Chat templates of open models read `tool_calls` and `tools` alone: the call is not in the training text, and the
    row teaches an empty answer. OpenAI calls the form deprecated.

    ## Known problems
    For OpenAI's own fine-tuning such rows still work. ShareGPT rows have a form of their own, and are not looked at.

    ## Source
    OpenAI's API reference, `function_call` (deprecated); Hugging Face's guide to tool use.
    """

    code: ClassVar[str] = "SCH131"
    name: ClassVar[str] = "legacy-call"
    severity: ClassVar[Severity] = Severity.WARNING
    help: ClassVar[str] = "write `tools`, `tool_calls` with ids, and results with the role tool"
    fires: ClassVar[tuple[Example, ...]] = (
        _chat(CALL, {"role": "function", "name": "f", "content": "1"}),
        _chat(functions=[{"name": "f"}]),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        _chat(),
        _chat(tools=[{"type": "function", "function": {"name": "f"}}]),
        Example(({"conversations": [{"from": "function", "value": "1"}, {"from": "gpt", "value": "b"}]},)),
    )

    @classmethod
    def flaws(cls, conversation: Conversation) -> Iterator[Flaw]:
        """One for the first sign of the old form."""
        if conversation.shape == "sharegpt":
            return
        for turn, message in enumerate(conversation.messages):
            if isinstance(message, dict) and message.get("function_call"):
                yield Flaw(turn, "a turn calls a function in the old form", "`function_call`", "`tool_calls`")
                return
            if conversation.role(turn) == "function":
                yield Flaw(turn, "a turn has the role function", "the role function", "the role tool")
                return
        if conversation.extra.get("functions"):
            yield Flaw(None, "the row declares functions in the old form", "`functions`", "`tools`")
