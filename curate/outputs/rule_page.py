"""A rule's page for people at a terminal: headings, wrapped paragraphs and lists instead of Markdown."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator

from schemas.terminal import Screen, printable

MOST_COLUMNS = 100
"""Longer lines are hard to read, however wide the terminal is."""
CODE = re.compile(r"`([^`\n]+)`")
ITEM = re.compile(r"(?P<mark>[-*]|\d+\.) (?P<text>.*)", re.DOTALL)


def rendered(page: str, screen: Screen) -> str:
    """The page as text.

    Args:
        page: Markdown as rules write it: headings, paragraphs, lists, blocks of code, code in backticks.
        screen: gives width and colours.
    """
    width = max(min(screen.columns, MOST_COLUMNS), 30)
    lines: list[str] = []
    before = ""
    for block in _blocks(page):
        if block.startswith("```"):
            found = ["    " + printable(line) for line in block.split("\n")[1:-1]]
        elif block.startswith("#"):
            marks, _, title = block.partition(" ")
            found = [screen.paint(printable(title), "bold", *(["cyan"] if len(marks) == 1 else []))]
        else:
            found = [_coloured(line, screen) for line in _wrapped(block, width)]
        together = before.startswith("## ") or (ITEM.match(before) and ITEM.match(block))
        lines += found if together or not lines else ["", *found]
        before = block
    return "\n".join(lines) + "\n"


def _blocks(page: str) -> Iterator[str]:
    """Headings, blocks of code, list items and paragraphs."""
    block: list[str] = []
    fenced = False
    for line in [*page.split("\n"), ""]:
        starts = line.startswith(("#", "```")) or ITEM.match(line)
        if fenced:
            block.append(line)
            if line.startswith("```"):
                fenced = False
                yield "\n".join(block)
                block = []
            continue
        if block and (starts or not line.strip()):
            yield "\n".join(block)
            block = []
        fenced = line.startswith("```")
        if line.startswith("#"):
            yield line
        elif line.strip():
            block.append(line)


def _wrapped(block: str, width: int) -> list[str]:
    """A paragraph or a list item in lines of this width; code in backticks is not torn apart at its spaces."""
    text = " ".join(printable(line.strip()) for line in block.split("\n"))
    item = ITEM.match(text)
    first = f"  {item['mark']} " if item else "  "
    whole = CODE.sub(lambda code: f"`{code[1].replace(' ', chr(0xA0))}`", item["text"] if item else text)
    return [
        line.replace("\xa0", " ")
        for line in textwrap.wrap(
            whole, width, initial_indent=first, subsequent_indent=" " * len(first), break_on_hyphens=False
        )
    ]


def _coloured(line: str, screen: Screen) -> str:
    return CODE.sub(lambda code: screen.paint(code[1], "cyan"), line) if screen.colour else line
