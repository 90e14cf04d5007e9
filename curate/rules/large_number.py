"""SCH153 large-number."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from curate.rows import Corpus
from curate.rules.base import Action, Example, Hit, Rule
from schemas.finding import Severity

STRING = re.compile(rb'"(?:[^"\\]++|\\.)*+"', re.DOTALL)
WHOLE_NUMBER = re.compile(rb"(?<![\w.+-])-?\d{19,}+(?![\w.])")
SHOWN_DIGITS = 24


class LargeNumber(Rule):
    """A whole number that 64 bits cannot hold.

    ## What it does
    Reports rows with a whole number beyond the range of 64 bits outside of their texts, in an id for example.

    ## Why
    Readers take such a number as a float, which has 16 digits: the id that comes out is another one, and two ids may
    become one. JavaScript does so from 2^53 on.

    ## Known problems
    Whole numbers between 2^53 and 2^64 are not reported.

    ## Source
    RFC 8259, section 6 (numbers); RFC 7493 (I-JSON), section 2.2.
    """

    code: ClassVar[str] = "SCH153"
    name: ClassVar[str] = "large-number"
    severity: ClassVar[Severity] = Severity.WARNING
    default_action: ClassVar[Action] = Action.KEEP
    help: ClassVar[str] = "write ids and other long numbers as text, in quotes"
    fires: ClassVar[tuple[Example, ...]] = (
        Example((b'{"text": "a", "id": 123456789012345678901234}',)),
        Example((b'{"prompt": "a", "completion": "b", "n": [-98765432109876543210]}',)),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example((b'{"text": "a", "id": 18446744073709551615}',)),
        Example((b'{"text": "123456789012345678901234", "id": "123456789012345678901234", "n": 1e30, "p": 0.1}',)),
        Example.chat("Hi", "Hello."),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each row with such a number."""
        # A parser makes a float of it, which is written with an exponent.
        suspects = corpus.rows.filter(pl.col("metadata").str.contains(r"\de\+?\d"))
        for index in suspects["index"]:
            for number in WHOLE_NUMBER.findall(STRING.sub(b"", corpus.raw(index))):
                digits = number.decode()
                if len(digits) > 20 or not -(1 << 63) <= int(digits) < 1 << 64:
                    shown = digits if len(digits) <= SHOWN_DIGITS else f"{digits[:SHOWN_DIGITS]}…"
                    message = f"64 bits cannot hold the number {shown}"
                    yield Hit(index, message, evidence={"digits": len(digits.lstrip("-"))}, detail=shown)
                    break
