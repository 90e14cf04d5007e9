"""SCH107 wrong-type."""

from __future__ import annotations

from typing import ClassVar

from curate.rules.base import Action, Example, FaultRule
from schemas.finding import Severity


class WrongType(FaultRule):
    """A field with a value of the wrong type.

    ## What it does
    Reports messages that are no list, messages that are no objects, roles and contents that are no text, and the
    like. Content may also be a list of parts, as OpenAI writes it.

    ## Why
    Trainers crash on such a row, or turn the number into text without a word.

    ## Known problems
    None known.

    ## Source
    The message format of OpenAI chat fine-tuning and of Hugging Face chat templates.
    """

    code: ClassVar[str] = "SCH107"
    name: ClassVar[str] = "wrong-type"
    severity: ClassVar[Severity] = Severity.ERROR
    default_action: ClassVar[Action] = Action.DROP
    help: ClassVar[str] = "correct the type in the source; numbers belong into quotes where text is meant"
    sentence: ClassVar[str] = "{found}, expected {expected}"
    fires: ClassVar[tuple[Example, ...]] = (
        Example(({"messages": [{"role": "user", "content": 5}, {"role": "assistant", "content": "ok"}]},)),
        Example(({"messages": "hello"},)),
        Example(({"text": 1},)),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("5", "ok"),
        Example(
            (
                {
                    "messages": [
                        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
                        {"role": "assistant", "content": "ok"},
                    ]
                },
            )
        ),
    )
