"""The words of an HTML page, by paragraph.

The standard library's parser takes minutes for a small page of unclosed tags, and pages come from anywhere: this reads
each character once. It knows nothing of nesting, which the words do not need.
"""

from __future__ import annotations

import html
import re
from typing import NamedTuple

HIDDEN = ("script", "style", "template", "noscript", "svg", "math", "iframe", "object", "textarea", "select")
"""Elements whose content nobody reads."""
INLINE = frozenset(
    "a abbr acronym b bdi bdo big cite code data del dfn em font i ins kbd label mark q ruby s samp small span strike "
    "strong sub sup time tt u var wbr".split()
)
"""Elements within a paragraph; every other one ends it."""
NAME = re.compile(r"[a-zA-Z][a-zA-Z0-9:-]*")
CLOSING = {name: re.compile(rf"</{name}(?![a-zA-Z0-9:-])", re.IGNORECASE) for name in HIDDEN}


class Paragraph(NamedTuple):
    """Some lines of a document."""

    line: int
    """On which it begins, from 1."""
    text: str


def html_paragraphs(page: str) -> list[Paragraph]:
    """What a page says, without scripts, styles, comments and tags; each paragraph on one line.

    Args:
        page: the source, well-formed or not.
    """
    found = _Paragraphs()
    at, line = 0, 1
    while at < len(page):
        tag = page.find("<", at)
        tag = len(page) if tag < 0 else tag
        found.say(page[at:tag], line)
        stop, said = _behind(page, tag)
        found.say(said, line + page.count("\n", at, tag))
        line += page.count("\n", at, stop)
        at = stop
    return found.ended()


def _behind(page: str, tag: int) -> tuple[int, str]:
    """Where what begins with this < ends, and what it says itself: a break, nothing, or < where it is no tag."""
    if page.startswith("<!--", tag):
        return _end(page, "-->", tag + 4), ""
    closing = page.startswith("/", tag + 1)
    name = NAME.match(page, tag + 1 + closing)
    if name is None:
        is_mark = page.startswith(("<!", "<?", "</"), tag)
        return (_end(page, ">", tag), "") if is_mark else (tag + 1, page[tag : tag + 1])
    stop, called = _end(page, ">", name.end()), name[0].lower()
    if called in CLOSING and not closing:
        close = CLOSING[called].search(page, stop)
        return (_end(page, ">", close.end()) if close else len(page)), BREAK
    return stop, "" if called in INLINE else BREAK


BREAK = "\x00"
"""Ends a paragraph; pages are cleaned of it before."""


def _end(page: str, mark: str, start: int) -> int:
    at = page.find(mark, start)
    return len(page) if at < 0 else at + len(mark)


class _Paragraphs:
    def __init__(self) -> None:
        self._found: list[Paragraph] = []
        self._pieces: list[str] = []
        self._line = 0

    def say(self, text: str, line: int) -> None:
        if text == BREAK:
            self._end()
        elif self._pieces or text.strip():
            if not self._pieces:
                self._line = line + text[: len(text) - len(text.lstrip())].count("\n")
            self._pieces.append(text)

    def _end(self) -> None:
        # Tags are gone by now: what stands as &lt;b&gt; is text.
        text = " ".join(html.unescape("".join(self._pieces)).split())
        if text:
            self._found.append(Paragraph(self._line, text))
        self._pieces = []

    def ended(self) -> list[Paragraph]:
        self._end()
        return self._found
