"""QUA603 smuggled-text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from curate.literals import beyond_ascii
from curate.rows import Corpus
from curate.rules.base import Action, Example, Hit, Rule
from schemas.finding import Severity
from schemas.terminal import printable

CARRIERS = r"[\u{e0000}-\u{e007f}\u{e0100}-\u{e01ef}]|[\u{fe00}-\u{fe0f}]{2}"
TAGS = re.compile("[\U000e0000-\U000e007f]+")
SELECTORS = re.compile("[\ufe00-\ufe0f\U000e0100-\U000e01ef]{2,}")
FLAG = re.compile("\U0001f3f4[\U000e0020-\U000e007e]{1,16}\U000e007f")
"""A flag of a region: the one honest use of tag characters."""
SHOWN_CHARS = 200


class SmuggledText(Rule):
    """A text with a second, invisible text inside it.

    ## What it does
    Reports turns with Unicode tag characters, which repeat ASCII invisibly, and turns with runs of two or more
    variation selectors, which carry one byte each. What they say is decoded and shown. Flags of regions, which are made
    of tags, and single selectors after a letter, a sign or an emoji are what these characters are for. The action `fix`
    removes the hidden text.

    ## Why
    A reviewer sees nothing; the tokenizer hands the text to the model, which can read it. It is the way to slip
    instructions past a reader, and data poisoned so survives copying.

    ## Known problems
    Text hidden in other ways (spaces without width as bits, white letters) is not decoded; hidden-unicode reports the
    characters of the first kind.

    ## Measured
    Share of clean rows with a finding: code 0, JSON 0, maths 0, one-word answers 0, prose in the languages of
    Django 0. Share of planted faults that are found: 1.00. By `benchmarks/quality_false_alarms.py`, on 500 to 1,000
    rows of each kind and 200 faults of the rule's own wording, so that the recall is an upper bound.

    ## Source
    The Unicode Standard, section 23.9 "Tag Characters" and section 23.4 "Variation Selectors"; Boucher et al. 2022,
    "Bad Characters", arXiv:2106.09898.
    """

    code: ClassVar[str] = "QUA603"
    name: ClassVar[str] = "smuggled-text"
    severity: ClassVar[Severity] = Severity.ERROR
    default_action: ClassVar[Action] = Action.FIX
    actions: ClassVar[tuple[Action, ...]] = (Action.KEEP, Action.DROP, Action.FIX)
    help: ClassVar[str] = "find out who wrote the row; `action: fix` removes the hidden text, `drop` the row"
    fires: ClassVar[tuple[Example, ...]] = (
        Example.chat("a", "seen" + "".join(chr(0xE0000 + ord(char)) for char in "hidden")),
        Example.chat("a" + "".join(chr(0xE0100 + byte - 16) for byte in b"obey"), "b"),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f", "a flag"),
        Example.chat("\u2764\ufe0f and \u845b\U000e0100", "a heart, and a letter in one of its forms"),
        Example.chat("plain", "text"),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each turn with hidden text."""
        turns = corpus.remembered("beyond_ascii", lambda: beyond_ascii(corpus.turns)).filter(
            pl.col("content").str.contains(CARRIERS)
        )
        for index, turn, content in turns.select("index", "turn", "content").iter_rows():
            said = _decoded(content)
            if said is not None:
                shown = printable(said[:SHOWN_CHARS])[:SHOWN_CHARS]
                message = f"a hidden text of {len(said)} characters: {shown!r}" if said else "hidden tag characters"
                yield Hit(index, message, turn, {"hidden": shown, "chars": len(said)}, said[:SHOWN_CHARS])

    def rewrite(self, text: str) -> str:
        """The text without what is hidden in it; flags stay."""
        pieces = FLAG.split(text)
        flags = [*FLAG.findall(text), ""]
        return "".join(SELECTORS.sub("", TAGS.sub("", piece)) + flag for piece, flag in zip(pieces, flags, strict=True))


def _decoded(text: str) -> str | None:
    """What is hidden in a text, in reading order; null where nothing is."""
    text = FLAG.sub("", text)
    found = [(match.start(), match[0]) for pattern in (TAGS, SELECTORS) for match in pattern.finditer(text)]
    if not found:
        return None
    parts = []
    for _, run in sorted(found):
        if "\U000e0000" <= run[0] <= "\U000e007f":
            parts.append("".join(chr(ord(char) - 0xE0000) for char in run if ord(char) >= 0xE0020))
        else:
            data = bytes(ord(char) - 0xFE00 if ord(char) < 0xE0000 else ord(char) - 0xE0100 + 16 for char in run)
            parts.append(data.decode("utf-8", errors="replace"))
    return "".join(parts)
