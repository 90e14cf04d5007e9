"""QUA601 mojibake."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from curate.literals import beyond_ascii, contains_literal
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Rule
from schemas.finding import Severity

LEAD = "\u00c2\u00c3\u00e2"
"""What the first bytes of UTF-8 sequences look like in Windows-1252."""
GARBLED = re.compile(
    # \u00c3 and what Windows-1252 and Latin-1 show for the bytes 80 to BF
    "\u00c3[\u0080-\u00bf\u0152\u0153\u0160\u0161\u0178\u017d\u017e\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122]"
    "|\u00c2[\u0080-\u009f\u00a1-\u00bf]"
    "|\u00e2\u20ac[\u0153\u0161\u017e\u02dc\u2122\u00a2\u00a6\u201c\u201d\u009d]"
    "|\ufffd"
)


class Mojibake(Rule):
    """A text that was decoded with the wrong encoding.

    ## What it does
    Reports turns with at least two places where letters stand that UTF-8 bytes give when they are read as Windows-1252
    or Latin-1, and turns with a replacement character (U+FFFD).

    ## Why
    The model learns to write the damage.

    ## Known problems
    Texts about encodings quote such sequences. Other mix-ups (Cyrillic code pages, Shift JIS) are not found.

    ## Source
    The mapping of Windows-1252 and the byte patterns of UTF-8 (RFC 3629).
    """

    code: ClassVar[str] = "QUA601"
    name: ClassVar[str] = "mojibake"
    severity: ClassVar[Severity] = Severity.WARNING
    help: ClassVar[str] = "read the source again with the right encoding, or repair the text"
    fires: ClassVar[tuple[Example, ...]] = (
        Example.chat("cr\u00c3\u00a8me br\u00c3\u00bbl\u00c3\u00a9e", "ok"),
        Example.chat("it\u00e2\u20ac\u2122s what you\u00e2\u20ac\u2122d think", "ok"),
        Example.chat("caf\ufffd", "ok"),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("cr\u00e8me br\u00fbl\u00e9e", "S\u00c3O PAULO, 20 \u00c2\u00b0"),
        Example.chat("\u00e2ge, ch\u00e2teau, \u20ac 5", "ok"),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each garbled turn."""
        turns = corpus.remembered("beyond_ascii", lambda: beyond_ascii(corpus.turns))
        turns = turns.filter(contains_literal(pl.col("content"), [*LEAD, "\ufffd"]))
        for index, turn, content in turns.select("index", "turn", "content").iter_rows():
            found = GARBLED.findall(content)
            if len(found) > 1 or "\ufffd" in found:
                distinct = list(dict.fromkeys(found))
                message = f"decoded with the wrong encoding in {len(found)} places, for example {distinct[0]!r}"
                yield Hit(index, message, turn, {"found": distinct[:10], "count": len(found)}, "".join(distinct[:20]))
