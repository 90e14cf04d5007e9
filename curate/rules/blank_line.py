"""SCH106 blank-line."""

from __future__ import annotations

from typing import ClassVar

from curate.rules.base import Action, Example, FaultRule
from schemas.finding import Severity


class BlankLine(FaultRule):
    """A line that holds nothing, or white space only.

    ## What it does
    Reports blank lines between and after the records. They count as no row.

    ## Why
    Harmless to most readers, fatal to some; it is reported so that every line of a file is either a row or a
    finding.

    ## Known problems
    None known.

    ## Source
    The JSON Lines convention (jsonlines.org).
    """

    code: ClassVar[str] = "SCH106"
    name: ClassVar[str] = "blank-line"
    severity: ClassVar[Severity] = Severity.INFO
    default_action: ClassVar[Action] = Action.KEEP
    help: ClassVar[str] = "remove the blank line"
    sentence: ClassVar[str] = "a line without content"
    fires: ClassVar[tuple[Example, ...]] = (Example(({"text": "a"}, b"", {"text": "b"})),)
    silent: ClassVar[tuple[Example, ...]] = (Example.chat("Hi", "Hello."),)
