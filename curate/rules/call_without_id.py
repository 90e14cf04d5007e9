"""SCH127 call-without-id."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from curate.rules.base import Example
from curate.structure import Conversation, Flaw, StructureRule
from schemas.finding import Severity


def _with(*ids: str | None) -> Example:
    function = {"name": "f", "arguments": "{}"}
    calls = [{"type": "function", "function": function} | ({"id": own} if own else {}) for own in ids]
    answer = {"role": "assistant", "content": None, "tool_calls": calls}
    return Example(({"messages": [{"role": "user", "content": "a"}, answer]},))


class CallWithoutId(StructureRule):
    """Tool calls without an id, or two with the same one.

    ## What it does
    Reports calls without an `id` and calls of one conversation that share one. It is an error where one turn gives two
    calls the same id, or only some calls have one; a warning where the row has none at all or a later turn counts anew.

    ## Why
    Results are matched to calls by id. OpenAI refuses calls without; Mistral's templates stop.

    ## Known problems
    Most templates of open models do not print ids: for those, rows without any are as good.

    ## Source
    OpenAI's API reference, `tool_calls[].id`; the chat templates of Mistral.
    """

    code: ClassVar[str] = "SCH127"
    name: ClassVar[str] = "call-without-id"
    severity: ClassVar[Severity] = Severity.ERROR
    help: ClassVar[str] = "give each call of a conversation an id of its own, and its result the same `tool_call_id`"
    fires: ClassVar[tuple[Example, ...]] = (_with("a", "a"), _with("a", None), _with(None), _with(None, None))
    silent: ClassVar[tuple[Example, ...]] = (_with("a", "b"), _with("a"), Example.chat("a", "b"))

    @classmethod
    def flaws(cls, conversation: Conversation) -> Iterator[Flaw]:
        """One for each call without an id of its own."""
        calls = [call for call in conversation.calls if not call.legacy]
        named = any(call.id for call in calls)
        seen: dict[str, int] = {}
        for call in calls:
            if call.id is None:
                if named:
                    yield Flaw(call.turn, "a tool call has no id, others of the row do", "no id", "an id of its own")
                else:
                    message = "the tool calls of this row have no ids"
                    yield Flaw(call.turn, message, "no id", "an id of its own", Severity.WARNING)
                    return
            elif call.id in seen:
                level = None if seen[call.id] == call.turn else Severity.WARNING
                message = f"two tool calls have the id {call.id[:60]!r}"
                yield Flaw(call.turn, message, call.id, "an id of its own", level)
            else:
                seen[call.id] = call.turn
