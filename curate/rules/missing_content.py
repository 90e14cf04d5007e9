"""SCH108 missing-content."""

from __future__ import annotations

from typing import ClassVar

from curate.rules.base import Action, Example, FaultRule
from schemas.finding import Severity


class MissingContent(FaultRule):
    """A turn without content.

    ## What it does
    Reports turns whose content is null or not there, unless the turn calls tools.

    ## Why
    Chat templates print the word None for it, or fail.

    ## Known problems
    None known.

    ## Source
    OpenAI's data preparation notebook, check `missing_content`.
    """

    code: ClassVar[str] = "SCH108"
    name: ClassVar[str] = "missing-content"
    severity: ClassVar[Severity] = Severity.ERROR
    default_action: ClassVar[Action] = Action.DROP
    help: ClassVar[str] = "give the turn its text, or remove the row"
    sentence: ClassVar[str] = "a turn says nothing: {found}"
    fires: ClassVar[tuple[Example, ...]] = (
        Example(({"messages": [{"role": "user", "content": "hi"}, {"role": "assistant", "content": None}]},)),
        Example(({"prompt": "a", "completion": None},)),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("a", "b"),
        Example(
            (
                {
                    "messages": [
                        {"role": "user", "content": "hi"},
                        {
                            "role": "assistant",
                            "content": None,
                            "tool_calls": [
                                {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
                            ],
                        },
                    ]
                },
            )
        ),
    )
