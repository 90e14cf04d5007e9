"""SCH109 unknown-key."""

from __future__ import annotations

from typing import ClassVar

from curate.rules.base import Action, Example, FaultRule
from schemas.finding import Severity


class UnknownKey(FaultRule):
    """A message with a key outside the chat format.

    ## What it does
    Reports keys of a message other than role, content, name, tool_calls, tool_call_id, function_call and weight.

    ## Why
    OpenAI's fine-tuning refuses the file; other trainers ignore the key, so that what it says is not trained.

    ## Known problems
    Keys that one trainer defines for itself (`reasoning_content`, `train`) are reported too.

    ## Source
    OpenAI's data preparation notebook, check `message_unrecognized_key`.
    """

    code: ClassVar[str] = "SCH109"
    name: ClassVar[str] = "unknown-key"
    severity: ClassVar[Severity] = Severity.WARNING
    default_action: ClassVar[Action] = Action.KEEP
    help: ClassVar[str] = "move the key to the row's `metadata`, or remove it"
    sentence: ClassVar[str] = "a message has a key that the chat format does not know: {found}"
    fires: ClassVar[tuple[Example, ...]] = (
        Example(
            ({"messages": [{"role": "user", "content": "a", "mood": "calm"}, {"role": "assistant", "content": "b"}]},)
        ),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("a", "b"),
        Example(
            (
                {
                    "messages": [
                        {"role": "user", "content": "a", "name": "Ann"},
                        {"role": "assistant", "content": "b", "weight": 1},
                    ]
                },
            )
        ),
    )
