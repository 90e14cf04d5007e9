"""QUA613 page-debris."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import polars as pl

from curate.answers import answers, excerpt
from curate.literals import contains_literal
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Rule
from schemas.finding import Severity

MARKERS = [
    "Copy code", "Regenerate response", "[citation needed]", "ChatGPT can make mistakes", "Share Prompt", "ShareGPT",
    "Continue generating", "Stop generating", "【", "\ue200", "oaicite", "Skip to content", "Accept all cookies",
    "Sign up for our newsletter", "All rights reserved.",
]  # fmt: skip
DEBRIS = (
    r"(?m)(^[\w+#. -]{0,20}Copy code$|^Regenerate response$|\[citation needed\]|ChatGPT can make mistakes\.|"
    r"^Share Prompt$|^(?:Continue|Stop) generating$|【\d{1,4}(?:†|:)[^】]{0,40}】|:?contentReference\[oaicite|"
    r"^Skip to content$|^Accept all cookies$|^Sign up for our newsletter\W?$|\u{e200}cite)"
)


class PageDebris(Rule):
    """An answer with the labels of the page it was copied from.

    ## What it does
    Reports assistant turns with the buttons, footnotes and source marks of chat pages and encyclopaedias: a line "Copy
    code" or "Regenerate response", "[citation needed]", source marks of browsing models.

    ## Why
    Nobody wrote these words as an answer; the model learns to end its code with the label of a button.

    ## Known problems
    Only labels in English are known.

    ## Measured
    Share of clean rows with a finding: code 0, JSON 0, maths 0, one-word answers 0, prose in the languages of
    Django 0. Share of planted faults that are found: 1.00. By `benchmarks/quality_false_alarms.py`, on 500 to 1,000
    rows of each kind and 200 faults of the rule's own wording, so that the recall is an upper bound.

    ## Source
    Reviews of shared ChatGPT conversations that were saved as pages.
    """

    code: ClassVar[str] = "QUA613"
    name: ClassVar[str] = "page-debris"
    severity: ClassVar[Severity] = Severity.WARNING
    help: ClassVar[str] = "remove the labels, or take the text from an export instead of a page"
    fires: ClassVar[tuple[Example, ...]] = (
        Example.chat("Code?", "pythonCopy code\nprint(1)"),
        Example.chat("Who?", "He was a painter.[citation needed]"),
        Example.chat("Who?", "He was a painter【4†source】."),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("Which button?", "Press the button Copy code to copy the code."),
        Example.chat("日记", "【今日】晴れ。【4】も。"),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each answer with such a label."""
        content = pl.col("content")
        suspects = answers(corpus).filter(contains_literal(pl.col("content"), MARKERS))
        found = suspects.with_columns(label=content.str.extract(DEBRIS)).filter(pl.col("label").is_not_null())
        for index, turn, label in found.select("index", "turn", "label").iter_rows():
            shown = excerpt(label)
            yield Hit(index, f"a label of the page it was copied from: {shown!r}", turn, {"label": shown}, shown)
