"""SCH105 byte-order-mark."""

from __future__ import annotations

from typing import ClassVar

from curate.rules.base import Action, Example, FaultRule
from schemas.finding import Severity


class ByteOrderMark(FaultRule):
    """A UTF-8 byte order mark before a record.

    ## What it does
    Reports the three bytes EF BB BF at the beginning of a line, or of a table. What stands behind them is read as if
    they were not there.

    ## Why
    Most JSON parsers refuse the line, so that the first row of the file is lost or the whole file is; readers of CSV
    take the mark for a part of the first column's name, which then is not found.

    ## Known problems
    None known.

    ## Source
    RFC 8259, section 8.1: implementations must not add a byte order mark.
    """

    code: ClassVar[str] = "SCH105"
    name: ClassVar[str] = "byte-order-mark"
    severity: ClassVar[Severity] = Severity.INFO
    default_action: ClassVar[Action] = Action.KEEP
    help: ClassVar[str] = "save the file as UTF-8 without a byte order mark"
    sentence: ClassVar[str] = "the line begins with a byte order mark"
    fires: ClassVar[tuple[Example, ...]] = (Example((b'\xef\xbb\xbf{"text": "a"}',)),)
    silent: ClassVar[tuple[Example, ...]] = (Example.chat("Hi", "Hello."),)
