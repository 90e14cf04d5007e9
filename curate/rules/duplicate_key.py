"""SCH104 duplicate-key."""

from __future__ import annotations

from typing import ClassVar

from curate.rules.base import Action, Example, FaultRule
from schemas.finding import Severity


class DuplicateKey(FaultRule):
    """An object that names a key twice.

    ## What it does
    Parses lines again whose number of keys differs from that of the parsed record, and names the repeated keys.

    ## Why
    Parsers disagree on which value counts: most take the last, some the first, pyarrow refuses the whole file. Two
    trainers would see two different rows.

    ## Known problems
    A repeated key is missed if the line also spells the sequence quote, colon inside a text in a way that changes
    when it is written again; both together have not been met in real data.

    ## Source
    RFC 8259, section 4: names within an object should be unique.
    """

    code: ClassVar[str] = "SCH104"
    name: ClassVar[str] = "duplicate-key"
    severity: ClassVar[Severity] = Severity.ERROR
    default_action: ClassVar[Action] = Action.DROP
    help: ClassVar[str] = "keep one of the two values in the source"
    sentence: ClassVar[str] = "a key is given twice: {found}"
    fires: ClassVar[tuple[Example, ...]] = (
        Example((b'{"text": "a", "text": "b"}',)),
        Example((b'{"text" : "a", "text" : "b"}',)),
    )
    silent: ClassVar[tuple[Example, ...]] = (Example((b'{"text": "one \\"text\\": two"}',)), Example.chat("a", "b"))
