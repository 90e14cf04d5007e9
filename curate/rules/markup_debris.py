"""QUA612 markup-debris."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

import polars as pl
from pydantic import Field

from curate.answers import answers, each_answer, without_code
from curate.literals import contains_literal
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Rule
from schemas.finding import Severity

MARKERS = [
    "&nbsp;", "&amp;", "&quot;", "&lt;", "&gt;", "&#39;", "&#x27;", "&rsquo;", "&ldquo;", "&mdash;", "</div>", "</p>",
    "</span>", "</a>", "</li>", "</font>", "</td>", "<br>", "<br/>", "<br />", "</b>", "</i>", "</strong>", "</em>",
]  # fmt: skip
DEBRIS = re.compile(
    r"&(?:nbsp|amp|quot|lt|gt|[lr][sd]quo|mdash|ndash|hellip|#\d{2,5}|#x[0-9a-fA-F]{2,4});"
    r"|</?(?:div|p|span|a|li|ul|ol|font|td|tr|table|b|i|strong|em|h[1-6])(?: [^<>\n]{0,200})?>|<br ?/?>"
)
TABLE_LINE = re.compile(r"^[ \t]*\|.*$", re.MULTILINE)
"""Markdown has no other way to break a line in a cell than a tag."""
ABOUT = re.compile(
    r"html|xml|\bcss\b|\btags?\b|web ?(?:page|site)|\bsite\b|markup|markdown|svg|javascript|react|\bjsx?\b|vue|angular|php|"
    r"django|jinja|template|wordpress|liquid|component|elements?\b|escap|entit|encod|snippet|code|script|program|function|"
    r"[<>]|selenium|scrap|dom\b|\bapi\b|regex|json|java|python|bash|\bsql\b|button|form\b|anki|email",
    re.IGNORECASE,
)
CODE = re.compile(
    r"^\s*(?:import|def|class|function|const|let|var|#include|<\?|<!|<html|public|return)\b|[{};]\s*$", re.MULTILINE
)


class MarkupDebris(Rule):
    """An answer with remains of HTML in its prose.

    ## What it does
    Reports assistant turns with at least `min_places` tags or entities (`&nbsp;`, `</div>`, `<br>`) outside code and tables, in
    rows in which neither the prompt nor the answer has to do with HTML, code or templates.

    ## Why
    The text was taken out of a page without being converted. The model learns to write tags that no reader sees
    rendered.

    ## Known problems
    Answers that use a few tags on purpose, for a page that renders them, are reported: set `min_places` higher.

    ## Measured
    Share of clean rows with a finding: code 0, JSON 0, maths 0, one-word answers 0, prose in the languages of
    Django 0. Share of planted faults that are found: 1.00. By `benchmarks/quality_false_alarms.py`, on 500 to 1,000
    rows of each kind and 200 faults of the rule's own wording, so that the recall is an upper bound.

    ## Source
    The HTML Standard, section 13.5 "Named character references".
    """

    code: ClassVar[str] = "QUA612"
    name: ClassVar[str] = "markup-debris"
    severity: ClassVar[Severity] = Severity.INFO
    help: ClassVar[str] = "convert the source to plain text or Markdown again"
    fires: ClassVar[tuple[Example, ...]] = (
        Example.chat("Who was he?", "He was a painter.<br>He was born&nbsp;in Delft.</p>"),
        Example.chat("Who was he?", "Smith &amp; Sons &quot;made&quot; him rich."),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        Example.chat("How do I break a line in HTML?", "Write <br> or <p>..</p>."),
        Example.chat("How do I show it?", "Write `&nbsp;` and `&amp;` between them."),
        Example.chat("Who was he?", "```\n<p>a</p>&nbsp;\n```"),
        Example.chat("Is a < b?", "Yes, and b > a; AT&T is a firm."),
    )

    min_places: int = Field(default=2, ge=1)
    """Tags and entities from which on an answer is reported."""

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each answer with debris."""
        suspects = answers(corpus).filter(contains_literal(pl.col("content"), MARKERS))
        for index, turn, text, prompt in each_answer(suspects):
            if ABOUT.search(prompt[:20_000]) or CODE.search(text):
                continue
            prose = TABLE_LINE.sub("", without_code(text))
            found = DEBRIS.findall(prose)
            if len(found) >= self.min_places and not re.search(
                r"html|xml|css|markup|\btags?\b", DEBRIS.sub(" ", prose), re.I
            ):
                distinct = list(dict.fromkeys(found))
                message = f"remains of HTML in {len(found)} places: {', '.join(distinct[:3])}"
                yield Hit(index, message, turn, {"found": distinct[:10], "count": len(found)}, " ".join(distinct[:10]))
