"""SCH152 misplaced-comma."""

from __future__ import annotations

from typing import ClassVar

from curate.rules.base import Action, Example, FaultRule
from schemas.finding import Severity


class MisplacedComma(FaultRule):
    """A comma before or after a record, or none between two records of an array.

    ## What it does
    Reports commas at the beginning or the end of a line, a comma behind the last element of an array, and elements
    without a comma between them. The records are read.

    ## Why
    Lines that were copied out of an array keep its commas. JSON knows none there, and most readers refuse the file.

    ## Known problems
    A comma inside of a record is part of it: that record is reported as a broken line.

    ## Source
    RFC 8259, section 5 (arrays); the JSON Lines convention (jsonlines.org).
    """

    code: ClassVar[str] = "SCH152"
    name: ClassVar[str] = "misplaced-comma"
    severity: ClassVar[Severity] = Severity.ERROR
    default_action: ClassVar[Action] = Action.KEEP
    help: ClassVar[str] = "remove the comma, or add the one that is missing between two elements"
    sentence: ClassVar[str] = "{found}; expected {expected}"
    fires: ClassVar[tuple[Example, ...]] = (
        Example((b'{"text": "a"},', b'{"text": "b"}')),
        Example((b',{"text": "a"}',)),
    )
    silent: ClassVar[tuple[Example, ...]] = (Example(({"text": "a,"}, {"text": ",b"})), Example.chat("Hi", "Hello."))
