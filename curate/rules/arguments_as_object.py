"""SCH124 arguments-as-object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from curate.rules.base import Example
from curate.structure import Conversation, Flaw, StructureRule
from schemas.finding import Severity


def _with(arguments: Any) -> Example:
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}}
    answer = {"role": "assistant", "content": None, "tool_calls": [call]}
    return Example(({"messages": [{"role": "user", "content": "a"}, answer]},))


class ArgumentsAsObject(StructureRule):
    """Arguments of a tool call as an object, where OpenAI wants text.

    ## What it does
    Reports calls whose `arguments` are a JSON object and not the text of one.

    ## Why
    OpenAI's fine-tuning refuses the file. Hugging Face's templates want the object, and most of them take text as well;
    `datasets` stores objects of different keys as one structure full of nulls, which then stand in the prompt.

    ## Known problems
    For TRL and axolotl nothing is wrong with such a row, which is why this is for information.

    ## Source
    OpenAI's API reference, `function.arguments`; Hugging Face's guide to tool use in chat templates.
    """

    code: ClassVar[str] = "SCH124"
    name: ClassVar[str] = "arguments-as-object"
    severity: ClassVar[Severity] = Severity.INFO
    help: ClassVar[str] = "for OpenAI, write the arguments as text with JSON in it; for TRL, nothing"
    fires: ClassVar[tuple[Example, ...]] = (_with({"city": "Oslo"}), _with({}))
    silent: ClassVar[tuple[Example, ...]] = (_with('{"city": "Oslo"}'), _with("{}"), Example.chat("a", "b"))

    @classmethod
    def flaws(cls, conversation: Conversation) -> Iterator[Flaw]:
        """One for each call with an object."""
        for call in conversation.calls:
            if isinstance(call.arguments, dict):
                yield Flaw(call.turn, "the arguments of a call are an object", "an object", "JSON as text")
