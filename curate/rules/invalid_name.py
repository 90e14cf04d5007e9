"""SCH133 invalid-name."""

from __future__ import annotations

from typing import Any, ClassVar

from curate.rules.base import Example, FaultRule
from schemas.finding import Severity


def _named(name: Any) -> Example:
    user = {"role": "user", "content": "a", "name": name}
    return Example(({"messages": [user, {"role": "assistant", "content": "b"}]},))


class InvalidName(FaultRule):
    r"""A message whose `name` is none that OpenAI takes.

    ## What it does
    Reports names that are no text, are empty, have more than 64 characters, white space, or one of `<`, `|`, `\`, `/`
    and `>`.

    ## Why
    OpenAI's fine-tuning refuses the file.

    ## Known problems
    Chat templates of open models print any name, or none.

    ## Source
    OpenAI's API reference, `messages[].name`.
    """

    code: ClassVar[str] = "SCH133"
    name: ClassVar[str] = "invalid-name"
    severity: ClassVar[Severity] = Severity.WARNING
    help: ClassVar[str] = "write a short name without spaces, or remove it"
    sentence: ClassVar[str] = "the name of a speaker is not valid: {found}"
    fires: ClassVar[tuple[Example, ...]] = (_named("Ann Lee"), _named(""), _named(5), _named("a" * 65), _named("a/b"))
    silent: ClassVar[tuple[Example, ...]] = (_named("Ann_Lee"), _named("Zoë-2"), _named(None), Example.chat("a", "b"))
