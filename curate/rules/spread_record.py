"""SCH151 spread-record."""

from __future__ import annotations

from typing import ClassVar

from curate.rules.base import Action, Example, FaultRule
from schemas.finding import Severity


class SpreadRecord(FaultRule):
    """A record written over several lines of a file that holds one a line.

    ## What it does
    Reports each record whose brackets close on a later line, as pretty-printing writes it: one finding a record, not
    one a line. The record is read.

    ## Why
    Readers of JSONL take each line by itself and fail at the first, or skip every line of the file.

    ## Known problems
    The search for the end stops at the next line that begins with a brace. A record with a line break inside a string
    is no JSON at all, and is reported as a broken line.

    ## Source
    The JSON Lines convention (jsonlines.org): one JSON value a line.
    """

    code: ClassVar[str] = "SCH151"
    name: ClassVar[str] = "spread-record"
    severity: ClassVar[Severity] = Severity.ERROR
    default_action: ClassVar[Action] = Action.KEEP
    help: ClassVar[str] = "write each record on one line (json.dumps without indent, or jq -c)"
    sentence: ClassVar[str] = "a record takes {found}"
    fires: ClassVar[tuple[Example, ...]] = (
        Example((b"{", b'  "text": "a"', b"}")),
        Example((b'{"messages": [', b'{"role": "user", "content": "a"},', b'{"role": "assistant", "content": "b"}]}')),
    )
    silent: ClassVar[tuple[Example, ...]] = (Example(({"text": "a\\nb"}, {"text": "c"})), Example.chat("Hi", "Hello."))
