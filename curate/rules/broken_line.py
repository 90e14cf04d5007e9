"""SCH101 broken-line."""

from __future__ import annotations

from typing import ClassVar

from curate.rules.base import Action, Example, FaultRule
from schemas.finding import Severity


class BrokenLine(FaultRule):
    """A line, an element of an array or a row of a table that cannot be read.

    ## What it does
    Reports every line that a JSON parser refuses, with what stands where parsing stopped: a record cut off, bytes
    that are not UTF-8, NUL bytes, NaN or an infinity, half a surrogate pair, nesting beyond 200 levels, a table
    row with too few or too many fields, single quotes, comments and other habits of Python and JavaScript, a packed
    file or an Arrow stream that ends too early. Reading goes on at the next line; a record that is damaged and goes
    over several lines is one finding.

    ## Why
    Loaders stop at the first such line, usually without saying which, or skip it in silence.

    ## Known problems
    In a JSON array that is damaged in the middle, the place where the next record begins is a guess: the next object
    with the same first key.

    ## Source
    RFC 8259 (JSON), RFC 3629 (UTF-8).
    """

    code: ClassVar[str] = "SCH101"
    name: ClassVar[str] = "broken-line"
    severity: ClassVar[Severity] = Severity.ERROR
    default_action: ClassVar[Action] = Action.DROP
    help: ClassVar[str] = (
        "repair the line in its source, or let `assay curate` drop it; its bytes are kept in dropped.parquet"
    )
    sentence: ClassVar[str] = "cannot be read: {found}; expected {expected}"
    fires: ClassVar[tuple[Example, ...]] = (
        Example((b'{"messages": [{"role": "user"',)),
        Example((b'{"text": "\xff"}',)),
        Example((b'{"text": NaN}',)),
    )
    silent: ClassVar[tuple[Example, ...]] = (Example.chat("Hi", "Hello."), Example((b'{"text": "\\u00e9 is fine"}',)))
