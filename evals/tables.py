"""Tables of text as a terminal and Markdown show them."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass

from schemas.terminal import printable


@dataclass(frozen=True)
class Table:
    """One table, its cells as text."""

    title: str
    note: str
    heads: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]


def text_lines(table: Table, columns: int | None = None) -> list[str]:
    """Title, note and aligned columns; every line harmless to a terminal.

    Args:
        table: to be shown.
        columns: that the note is wrapped to; null leaves it on one line.
    """
    cells = [tuple(printable(cell) for cell in row) for row in (table.heads, *table.rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    note = printable(table.note)
    lines = [printable(table.title), *(textwrap.wrap(note, columns) if columns else [note] if note else [])]
    for row in cells:
        padded = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append(f"  {'  '.join(padded).rstrip()}")
    return lines


def markdown_lines(table: Table) -> list[str]:
    """A section with a GitHub-flavoured table."""
    lines = [f"## {table.title}", "", *([markdown_cell(table.note), ""] if table.note else [])]
    return [*lines, _row(table.heads), "|" + "---|" * len(table.heads), *(_row(row) for row in table.rows)]


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(markdown_cell(cell) for cell in cells)} |"


def markdown_cell(text: str) -> str:
    """Text without a meaning in Markdown, HTML included, on one line."""
    for mark in "\\|<>*_`[]":
        text = text.replace(mark, f"\\{mark}")
    return printable(text).replace("\n", " ")
