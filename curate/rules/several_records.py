"""SCH150 several-records."""

from __future__ import annotations

from typing import ClassVar

from curate.rules.base import Action, Example, FaultRule
from schemas.finding import Severity


class SeveralRecords(FaultRule):
    """A record behind another one on the same line.

    ## What it does
    Reports each record that follows another on its line, as `{"text": "a"}{"text": "b"}`. All of them are read.

    ## Why
    A file written without line feeds is not JSONL: Python's json and pyarrow stop at the second brace, and tools that
    read only the first value of a line lose the rest without a word.

    ## Known problems
    A line on which something other than objects, spaces and commas stands is reported as a broken line as a whole.

    ## Source
    The JSON Lines convention (jsonlines.org): one JSON value a line.
    """

    code: ClassVar[str] = "SCH150"
    name: ClassVar[str] = "several-records"
    severity: ClassVar[Severity] = Severity.ERROR
    default_action: ClassVar[Action] = Action.KEEP
    help: ClassVar[str] = "put a line feed between the records"
    sentence: ClassVar[str] = "a record {found}"
    fires: ClassVar[tuple[Example, ...]] = (
        Example((b'{"text": "a"}{"text": "b"}',)),
        Example((b'{"text": "a"} {"text": "b"}',)),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example(({"text": '{"text": "a"}{"text": "b"}'},)),
        Example.chat("Hi", "Hello."),
    )
