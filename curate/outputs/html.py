"""One self-contained HTML page: what was found, how sizes are spread, examples, pairs with their differences marked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from curate.audit import Audit
from curate.distributions import distributions
from curate.outputs.excerpt import Excerpts, by_rule, counted, idle_rules, place, twin_place
from curate.outputs.histogram import histogram, share_bar
from curate.outputs.page import Safe, environment, html_page, html_text
from curate.outputs.sources import eval_lines, files_read
from curate.outputs.text import summary
from curate.outputs.worddiff import side_by_side, visible
from curate.rules.base import Rule
from schemas.finding import Finding, Severity

SHOWN = 5
PAIRS_SHOWN = 40
"""Pairs on the whole page that are compared word by word, the costly part of it."""
WORDS = {Severity.ERROR: "errors", Severity.WARNING: "warnings", Severity.INFO: "notes"}
COUNTED = ("kinds", "shapes", "roles", "labels", "languages")
"""Statistics that are counts by name."""


@dataclass(frozen=True)
class Shown:
    """A finding as the page shows it."""

    finding: Finding
    place: str
    twin: str
    excerpt: str
    pair: tuple[Safe, Safe] | None


@dataclass(frozen=True)
class Group:
    """A rule and what it found."""

    rule: type[Rule]
    severity: Severity
    rows: int
    counted: str
    bar: Safe
    sentence: str
    shown: list[Shown]


def render(audit: Audit, limit: int | None, with_statistics: bool = True) -> str:
    """The page; `limit` examples of each rule, 5 by default. It always holds the numbers of the rows."""
    excerpts = _Examples(audit)
    shown = SHOWN if limit is None else limit
    groups = [_group(rule, found, shown, audit.rows, excerpts) for rule, found in by_rule(audit)]
    worst = groups[0].severity.value if groups else "clean" if audit.rows else "info"
    numbers = audit.statistics
    templates = environment([], html_text, {"count": "{:,}".format, "code_spans": code_spans})
    return html_page(
        templates,
        "audit.html.jinja",
        "audit.css.jinja",
        summary=summary(audit),
        worst=worst,
        read=files_read(audit),
        notices=[f"{notice.where}: {notice.text}" for notice in audit.aside.notices],
        sources=audit.corpus.sources,
        rows=audit.rows,
        levels=[(word, sum(f.severity is level for f in audit.findings)) for level, word in WORDS.items()],
        groups=groups,
        eval_sets=eval_lines(audit.eval_sets),
        not_run=idle_rules(audit),
        counted=[(_title(name, numbers), numbers[name]) for name in COUNTED if numbers.get(name)],
        quantiles=_quantiles(numbers),
        pictures=[(found, histogram(found)) for found in distributions(audit.corpus)],
    )


def code_spans(text: str) -> Safe:
    """Text of a rule as HTML, what stands between backticks as code."""
    return Safe(re.sub(r"`([^`]+)`", r"<code>\1</code>", html_text(text)))


def _title(name: str, numbers: dict[str, Any]) -> str:
    """What a statistic is called on the page, with what it rests on where that is not every row."""
    if name == "languages":
        return f"languages of {numbers['turns_read_for_languages']:,} turns"
    return (
        "tokens per row, estimated"
        if name == "tokens_per_row" and numbers["tokens_estimated"]
        else name.replace("_", " ")
    )


def _quantiles(numbers: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """Statistics that are percentiles, as (what is measured, percentile -> number)."""
    return [
        (_title(name, numbers), value)
        for name, value in numbers.items()
        if isinstance(value, dict) and "p50" in value and value["p50"] is not None
    ]


def _group(rule: type[Rule], found: list[Finding], limit: int, rows: int, examples: _Examples) -> Group:
    severity = min((finding.severity for finding in found), key=lambda level: level.rank)
    sentence = (rule.__doc__ or rule.name).strip().splitlines()[0]
    bar = share_bar(len(found) / rows if rows else 0.0, severity.value)
    shown = [examples.of(finding) for finding in (found[:limit] if limit else found)]
    return Group(rule, severity, len(found), counted(found), bar, sentence, shown)


class _Examples:
    """Findings with the rows that they point at."""

    def __init__(self, audit: Audit) -> None:
        self._excerpts = Excerpts(audit)
        self._pairs = 0

    def of(self, finding: Finding) -> Shown:
        return Shown(finding, place(finding), twin_place(finding), self._excerpts.of(finding), self._compared(finding))

    def _compared(self, finding: Finding) -> tuple[Safe, Safe] | None:
        """The representative and the row side by side, as long as the page has not compared enough."""
        twin = finding.evidence.get("twin")
        if not isinstance(twin, dict) or finding.row is None or self._pairs >= PAIRS_SHOWN:
            return None
        if not self._excerpts.holds(twin):
            return None  # an eval item, or a row of an earlier dataset
        self._pairs += 1
        if "row_words" in finding.evidence:  # a row and an eval item: the latter is no row of this corpus
            return side_by_side(finding.evidence["item_words"], finding.evidence["row_words"])
        stays = self._excerpts.whole(twin["path"], twin["row"])
        row = self._excerpts.whole(finding.path, finding.row)
        if stays == row:
            return Safe(visible(row[:2000])), Safe("<em>the same text</em>")
        return side_by_side(stays, row)
