"""What of a row may be shown, and how: short, masked, and harmless wherever it is printed."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from itertools import groupby
from typing import Any

import polars as pl

from curate.audit import Audit
from curate.rules.base import Rule
from schemas.finding import Finding
from schemas.terminal import printable

EXCERPT_CHARS = 110
WHOLE_CHARS = 20_000
MASKED_CHARS = 4096
"""What is masked before an excerpt is cut from it."""
BORDER_CHARS = 512
"""At the end of what was masked, a value may be cut in half and stay unknown: never shown where text was left out."""
LEAD_CHARS = 30
"""How much of the text before what was found is shown with it."""
NAMES_A_PLACE = ("masked", "found", "piece", "said", "begins", "end")
"""Keys of evidence whose value may stand in the text of the row as it is."""
MARKDOWN_ACTIVE = re.compile(r"([\\`*_{}\[\]()#+!|~@$-])")
ADDRESSES = re.compile(r"(@(?=\w)|#(?=\d))")
"""What GitHub makes a mention or a link of even where Markdown's own meaning is escaped."""
APART = "&#8203;"


def by_rule(audit: Audit) -> Iterator[tuple[type[Rule], list[Finding]]]:
    """Each rule with its findings: heaviest first, then those of most rows, then by code."""
    rules = {rule.code: type(rule) for rule in audit.rules}
    ordered = sorted(audit.findings, key=lambda finding: finding.code)
    groups = [(rules[code], list(found)) for code, found in groupby(ordered, key=lambda finding: finding.code)]
    yield from sorted(groups, key=lambda group: (min(f.severity.rank for f in group[1]), -len(group[1]), group[0].code))


def idle_rules(audit: Audit) -> list[str]:
    """Rules that were not run, a line for each reason."""
    by_reason: dict[str, list[str]] = {}
    for code, why in sorted(audit.not_run.items()):
        by_reason.setdefault(why, []).append(code)
    return [f"not run: {', '.join(codes)}: {why}" for why, codes in by_reason.items()]


def counted(found: list[Finding]) -> str:
    """How many rows the findings of a rule are about, or lines without a row, or whole files."""
    by_row = any(finding.row is not None for finding in found)
    noun = "row" if by_row else "file" if all(finding.line is None for finding in found) else "line"
    return f"{len(found):,} {noun}{'s' if len(found) != 1 else ''}"


def place(finding: Finding) -> str:
    """`file:line`, or `file, row N` where the format has no lines."""
    return address(finding.path, finding.line, finding.row)


def address(path: str, line: int | None, row: int | None) -> str:
    """The place of a row as people and editors write it."""
    if line is not None:
        return printable(f"{path}:{line}")
    return printable(path if row is None else f"{path}, row {row}")


def twin_place(finding: Finding) -> str:
    """The place of the other row of a pair; empty where there is none."""
    twin = finding.evidence.get("twin")
    return address(twin["path"], twin["line"], twin["row"]) if isinstance(twin, dict) else ""


class Excerpts:
    """One line of each row that a finding points at."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit
        corpus = audit.corpus
        numbers = {source.path: number for number, source in enumerate(corpus.sources)}
        self._index = {
            (source, row): index for index, source, row in corpus.rows.select("index", "source", "row").iter_rows()
        }
        self._numbers = numbers

    def holds(self, twin: dict[str, Any]) -> bool:
        """Whether a row that evidence names is one of those that were read."""
        index = self._index.get((self._numbers.get(twin["path"], -1), twin["row"]))
        return index is not None and self._audit.corpus.place(index).row_id == twin["row_id"]

    def whole(self, path: str, row: int) -> str:
        """All that is said in a row, a line for each turn's beginning; masked, not escaped, cut at WHOLE_CHARS.

        Args:
            path: the file as findings name it.
            row: 0-based record in it.
        """
        index = self._index[self._numbers[path], row]
        turns = self._turns(index).select("role", "part", "content", "calls").rows()
        said = [
            f"{part if part == 'rejected' else role or part}: {content or ''}{calls or ''}"
            for role, part, content, calls in turns
        ]
        text = "\n".join(said) if said else self._audit.corpus.raw(index).decode("utf-8", "backslashreplace")
        if len(text) > WHOLE_CHARS:
            # What is cut in two could not be recognised by the masks: the last word goes as a whole.
            text = text[:WHOLE_CHARS].rsplit(None, 1)[0] + " …"
        return self._audit.mask(text)

    def _turns(self, index: int) -> pl.DataFrame:
        turns = self._audit.corpus.turns
        start = turns["index"].search_sorted(index, side="left")
        return turns[start : turns["index"].search_sorted(index, side="right")]

    def of(self, finding: Finding) -> str:
        """The turn that the finding names, or the row's question, from where the fault is; masked, escaped, cut."""
        if finding.row is None:
            return ""
        index = self._index[self._numbers[finding.path], finding.row]
        rows = self._turns(index).filter(pl.col("content").is_not_null()).select("turn", "role", "content").rows()
        named = [row for row in rows if row[0] == finding.turn]
        asked = [row for row in rows if row[1] not in ("system", "developer", "assistant")]
        for found in (named, asked, rows):
            if found:
                _, role, content = found[0]
                return self._shown(f"{role}: ", content[: MASKED_CHARS + 1], finding)
        raw = self._audit.corpus.raw(index)[: MASKED_CHARS + 1]
        return self._shown("", raw.decode("utf-8", "backslashreplace"), finding)

    def _shown(self, speaker: str, text: str, finding: Finding) -> str:
        shown = self._audit.mask(speaker + text)
        if len(text) > MASKED_CHARS:
            shown = f"{shown[: max(0, len(shown) - BORDER_CHARS)]}…"
        start = _place(shown, finding)
        if start + len(speaker) > EXCERPT_CHARS // 2:
            shown = f"{self._audit.mask(speaker)}…{shown[start:]}"
        return shorten(printable(shown))


def _place(text: str, finding: Finding) -> int:
    """Where the fault begins in a text, with a few words before it; 0 where that is not known."""
    for name in NAMES_A_PLACE:
        value = finding.evidence.get(name)
        first = value[0] if isinstance(value, list) and value else value
        place = text.find(first) if isinstance(first, str) and first else -1
        if place >= 0:
            return text.find(" ", max(0, place - LEAD_CHARS), place) + 1 or place
    return 0


def shorten(text: str, chars: int = EXCERPT_CHARS) -> str:
    """At most this many characters, with an ellipsis where something was cut."""
    return text if len(text) <= chars else text[: chars - 1] + "…"


def markdown(text: str) -> str:
    """Text that Markdown shows as it is: no links, no HTML, no mentions, no table cells."""
    escaped = MARKDOWN_ACTIVE.sub(r"\\\1", html.escape(printable(text), quote=False))
    return ADDRESSES.sub(rf"\1{APART}", escaped)
