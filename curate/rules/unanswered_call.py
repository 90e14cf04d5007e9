"""SCH128 unanswered-call."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from curate.rules.base import Example
from curate.structure import Conversation, Flaw, StructureRule
from schemas.finding import Severity


def _call(own: str | None) -> dict[str, Any]:
    call: dict[str, Any] = {"type": "function", "function": {"name": "f", "arguments": "{}"}}
    return call | ({"id": own} if own else {})


def _with(calls: tuple[str | None, ...], results: tuple[str | None, ...], last: str | None = "done") -> Example:
    messages: list[dict[str, Any]] = [{"role": "user", "content": "a"}]
    messages.append({"role": "assistant", "content": None, "tool_calls": [_call(own) for own in calls]})
    messages += [{"role": "tool", "content": "1"} | ({"tool_call_id": own} if own else {}) for own in results]
    messages += [{"role": "assistant", "content": last}] if last else []
    return Example(({"messages": messages},))


class UnansweredCall(StructureRule):
    """A tool call whose result never comes, although the conversation goes on.

    ## What it does
    Reports assistant turns with tool calls that are followed by another turn before each call has its result. Calls
    without ids are counted against the results that follow. A conversation may end with a call.

    ## Why
    OpenAI refuses the file ("must be followed by tool messages"). The model learns to go on as if it knew the result.

    ## Known problems
    None known.

    ## Source
    OpenAI's API, error for messages with `tool_calls`.
    """

    code: ClassVar[str] = "SCH128"
    name: ClassVar[str] = "unanswered-call"
    severity: ClassVar[Severity] = Severity.ERROR
    help: ClassVar[str] = "add a tool message with the result after the call, or end the row with the call"
    fires: ClassVar[tuple[Example, ...]] = (
        _with(("a",), ()),
        _with(("a", "b"), ("a",)),
        _with((None, None), (None,)),
        _with(("a",), ("z",)),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        _with(("a",), (), None),
        _with(("a", "b"), ("b", "a")),
        _with(("a",), (None,)),
        _with((None,), (None,)),
        _with(("a", "b"), ("a",), None),
        Example.chat("a", "b"),
    )

    @classmethod
    def flaws(cls, conversation: Conversation) -> Iterator[Flaw]:
        """One for each turn with a call that stays open."""
        size = len(conversation.messages)
        for turn in dict.fromkeys(call.turn for call in conversation.calls if not call.legacy):
            end = turn + 1
            while end < size and conversation.role(end) == "tool":
                end += 1
            if end == size:  # the conversation ends here: results may come later
                continue
            calls = [call for call in conversation.calls if call.turn == turn and not call.legacy]
            results = [conversation.messages[number].get("tool_call_id") for number in range(turn + 1, end)]
            unnamed = sum(not isinstance(result, str) for result in results)
            open_calls = [call for call in calls if call.id is None or call.id not in results]
            if len(open_calls) > unnamed:
                names = ", ".join(repr((call.name or "?")[:64]) for call in open_calls[:4])
                message = f"{len(open_calls) - unnamed} of {len(calls)} tool calls has no result: {names}"
                yield Flaw(turn, message, f"{len(results)} results", f"{len(calls)} results before the next turn")
