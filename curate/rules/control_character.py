"""QUA604 control-character."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from curate.answers import foreign_turns, odd_turns
from curate.rows import Corpus
from curate.rules.base import Action, Example, Hit, Rule
from schemas.finding import Severity

CONTROLS = "[\u0000-\u0008\u000b\u000e-\u001f\u007f-\u0084\u0086-\u009f]"
PATTERN = re.compile(f"\u001b\\[[0-9;?]{{0,20}}[A-Za-z]|{CONTROLS}")
NAMES = {"\0": "NUL", "\x08": "backspace", "\x1b": "escape", "\x07": "bell", "\x7f": "delete"}


class ControlCharacter(Rule):
    """A text with control characters.

    ## What it does
    Reports turns with characters of the blocks C0 and C1 other than tab, line feed, form feed, carriage return and next
    line, with the sequences that colour a terminal among them. The action `fix` removes them.

    ## Why
    They are remains of terminals, of binary formats and of wrong decoding. A tokenizer spends several tokens on each,
    and NULs end strings in the programs that come after.

    ## Known problems
    Answers about terminals that hold real escape sequences, not their spelling, are reported.

    ## Measured
    Share of clean rows with a finding: code 0, JSON 0, maths 0, one-word answers 0, prose in the languages of
    Django 0. Share of planted faults that are found: 1.00. By `benchmarks/quality_false_alarms.py`, on 500 to 1,000
    rows of each kind and 200 faults of the rule's own wording, so that the recall is an upper bound.

    ## Source
    ECMA-48, "Control Functions for Coded Character Sets".
    """

    code: ClassVar[str] = "QUA604"
    name: ClassVar[str] = "control-character"
    severity: ClassVar[Severity] = Severity.WARNING
    default_action: ClassVar[Action] = Action.FIX
    actions: ClassVar[tuple[Action, ...]] = (Action.KEEP, Action.DROP, Action.FIX)
    help: ClassVar[str] = "look at how the text was extracted; `action: fix` removes the characters"
    fires: ClassVar[tuple[Example, ...]] = (
        Example.chat("a\u0000b", "c"),
        Example.chat("a", "\u001b[31mred\u001b[0m"),
        Example.chat("a", "what\u0092s that"),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("a\tb\r\nc", "page one\fpage two"),
        Example.chat("a", r"printf '\x1b[31mred\x1b[0m'"),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each turn with control characters."""
        high = foreign_turns(corpus).filter(pl.col("content").str.contains(r"[\x{80}-\x{84}\x{86}-\x{9f}]"))
        turns = pl.concat([odd_turns(corpus), high]).unique(["index", "turn"], keep="first").sort("index", "turn")
        for index, turn, content in turns.select("index", "turn", "content").iter_rows():
            found = re.findall(CONTROLS, content)
            if not found:
                continue
            named = [NAMES.get(char, f"U+{ord(char):04X}") for char in dict.fromkeys(found)]
            evidence = {"characters": named[:20], "count": len(found)}
            yield Hit(index, f"control characters: {', '.join(named[:4])}", turn, evidence, " ".join(named))

    def rewrite(self, text: str) -> str:
        """The text without them."""
        return PATTERN.sub("", text)
