"""QUA602 hidden-unicode."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from curate.answers import foreign_turns
from curate.rows import Corpus
from curate.rules.base import Action, Example, Hit, Rule
from curate.rules.empty_content import VISIBLE
from schemas.finding import Severity

HIDDEN = r"[\u{202a}-\u{202e}\u{2066}-\u{2069}\u{200b}\u{2060}\u{feff}\u{00ad}]"
HIDDEN_PYTHON = re.compile(
    "[\u202a-\u202e\u2066-\u2069\u2060\ufeff\u00ad]"
    "|(?<![\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u200b])\u200b+(?![\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u200b])"
)
"""A space without width parts the words of Thai, Lao, Tibetan, Burmese and Khmer, which are written without spaces."""


class HiddenUnicode(Rule):
    """A text with characters that nobody sees.

    ## What it does
    Reports turns with characters that turn the direction of writing around, and with spaces, joiners and hyphens
    without width. Not reported are the joiners that Indic scripts, Persian and emoji need, and spaces without width in
    Thai, Lao, Tibetan, Burmese and Khmer, nor turns that hold nothing else (see empty-answer, empty-content). Tag
    characters and what they say are the business of smuggled-text. The action `fix` removes what was found.

    ## Why
    Such characters hide instructions from a reviewer and not from the model, and they split words into other tokens.

    ## Known problems
    Text copied from web pages holds soft hyphens and spaces without width in good faith. Marks of direction are normal
    in mixed Arabic or Hebrew and Latin text; of these, only the overriding and embedding ones are reported.

    ## Measured
    Share of clean rows with a finding: code 0, JSON 0, maths 0.001, one-word answers 0, prose in the languages of
    Django 0.0045. Share of planted faults that are found: 1.00. By `benchmarks/quality_false_alarms.py`, on 500 to
    1,000 rows of each kind and 200 faults of the rule's own wording, so that the recall is an upper bound.

    ## Source
    Boucher and Anderson 2021, "Trojan Source", arXiv:2111.00169; Unicode Technical Report 36.
    """

    code: ClassVar[str] = "QUA602"
    name: ClassVar[str] = "hidden-unicode"
    severity: ClassVar[Severity] = Severity.WARNING
    default_action: ClassVar[Action] = Action.FIX
    actions: ClassVar[tuple[Action, ...]] = (Action.KEEP, Action.DROP, Action.FIX)
    help: ClassVar[str] = "look at the text with an editor that shows such characters; `action: fix` removes them"
    fires: ClassVar[tuple[Example, ...]] = (
        Example.chat("a\u202eb", "c"),
        Example.chat("zero\u200bwidth", "c"),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645", "\U0001f468\u200d\U0001f469\u200d\U0001f467"),
        Example.chat("\u0e2a\u0e27\u0e31\u200b\u0e2a\u0e14\u0e35", "\u1798\u17bc\u200b\u200b\u1794"),
        Example.chat("plain", "text"),
        Example.chat("empty-answer reports it", "\u200b"),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each turn with such a character."""
        content = pl.col("content")
        turns = foreign_turns(corpus).filter(content.str.contains(HIDDEN) & content.str.contains(VISIBLE))
        for index, turn, content in turns.select("index", "turn", "content").iter_rows():
            found = HIDDEN_PYTHON.findall(content)
            if found:
                named = [unicodedata.name(char, f"U+{ord(char):04X}").lower() for char in dict.fromkeys("".join(found))]
                message = f"characters that nobody sees: {', '.join(named[:4])}"
                yield Hit(
                    index, message, turn, {"characters": named[:20], "count": len("".join(found))}, " ".join(named)
                )

    def rewrite(self, text: str) -> str:
        """The text without them."""
        return HIDDEN_PYTHON.sub("", text)
