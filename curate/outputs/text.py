"""Text for people: what was read, the worst first with its rows and what to do, and how to go on."""

from __future__ import annotations

import re
import shlex
from collections import Counter

from rich.cells import cell_len, chop_cells

from curate.audit import Audit
from curate.outputs.excerpt import Excerpts, by_rule, counted, idle_rules, place, twin_place
from curate.outputs.sources import eval_lines, files_read, skipped_lines
from curate.rules.base import Rule
from schemas.finding import Finding, Severity
from schemas.terminal import NO_SCREEN, Screen, printable

SHOWN = {Severity.ERROR: 3, Severity.WARNING: 3, Severity.INFO: 1}
RULES_AT_A_GLANCE = 4
"""With more rules than this, a table of them all comes last, where a terminal ends up."""
MARGIN = 6
COLOURS = {Severity.ERROR: "red", Severity.WARNING: "yellow", Severity.INFO: "cyan"}


def render(audit: Audit, limit: int | None, with_statistics: bool = False, screen: Screen | None = None) -> str:
    """The audit as text.

    Args:
        audit: what was found.
        limit: findings of each rule; null for 3, and 1 of what is information only; 0 for all.
        with_statistics: whether to show the numbers of the rows.
        screen: the terminal that it goes to: gives colours, and the width that excerpts are cut to.
    """
    page = screen or NO_SCREEN
    excerpts = Excerpts(audit)
    groups = list(by_rule(audit))
    lines = [
        *files_read(audit),
        *skipped_lines(audit.corpus),
        *([_painted_summary(audit, page)] if len(groups) > 1 else []),
    ]
    for rule, found in groups:
        shown = SHOWN[_weight(found)] if limit is None else limit
        lines += ["", _heading(rule, found, page)]
        for finding in found[:shown] if shown else found:
            lines += _finding(finding, excerpts, page, screen)
        if shown and len(found) > shown:
            more = f"  … {len(found) - shown:,} more (--select {rule.code} --max-findings 0 shows all)"
            lines.append(page.paint(more, "dim"))
        lines += _wrapped(f"  → {rule.help}", screen)
    if with_statistics:
        lines += ["", *_statistics(audit)]
    lines += ["", *_at_a_glance(groups, page)]
    lines += [part for line in eval_lines(audit.eval_sets) for part in _wrapped(line, screen)]
    idle = [part for line in idle_rules(audit) for part in _wrapped(printable(line), screen)]
    lines += [page.paint(line, "dim") for line in idle]
    lines.append(_painted_summary(audit, page))
    for notice in audit.aside.notices:
        lines.append(f"{page.paint('warning:', 'yellow', 'bold')} {printable(f'{notice.where}: {notice.text}')}")
    return "\n".join([*lines, *_next_steps(audit, groups, page)]) + "\n"


def summary(audit: Audit) -> str:
    """One line: how many rows, how many findings of each weight, and how many do not count."""
    rows = audit.rows
    if not rows:
        return "no rows: nothing can be said about this data"
    aside = _aside(audit)
    if not audit.findings:
        return f"{_rows(rows)}: nothing {'new' if aside else 'found'}{aside}"
    levels = Counter(finding.severity for finding in audit.findings)
    words = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
    by_level = [(levels[level], word) for level, word in words.items()]
    said = ", ".join(f"{count:,} {word}{'s' if count != 1 else ''}" for count, word in by_level if count)
    touched = len({(finding.path, finding.row) for finding in audit.findings if finding.row is not None})
    return f"{_rows(rows)}: {said}{f' in {_rows(touched)}' if touched else ''}{aside}"


def _aside(audit: Audit) -> str:
    """How many findings do not count, and why."""
    aside = audit.aside
    if aside.written is not None:
        known = f"{aside.covered:,} written to {printable(aside.baseline or '')}"
    else:
        known = f"{aside.covered:,} in the baseline" if aside.covered else ""
    waived = f"{aside.waived:,} waived" if aside.waived else ""
    ignored = f"{aside.ignored:,} ignored by file" if aside.ignored else ""
    said = ", ".join(part for part in (known, waived, ignored) if part)
    return f"; known findings: {said}" if said else ""


def _rows(count: int) -> str:
    return f"{count:,} row{'s' if count != 1 else ''}"


def _weight(found: list[Finding]) -> Severity:
    return min((finding.severity for finding in found), key=lambda level: level.rank)


def _painted_summary(audit: Audit, page: Screen) -> str:
    weight = _weight(list(audit.findings)) if audit.findings else None
    return page.paint(summary(audit), COLOURS[weight] if weight else "green", "bold")


# ------------------------------------------------------------------------------------------------------ what was found


def _heading(rule: type[Rule], found: list[Finding], page: Screen) -> str:
    weight = _weight(found)
    title = page.paint(f"{rule.code} {rule.name}", COLOURS[weight], "bold")
    return f"{title}  {weight}, {counted(found)}"


def _finding(finding: Finding, excerpts: Excerpts, page: Screen, screen: Screen | None) -> list[str]:
    turn = f" turn {finding.turn}" if finding.turn is not None else ""
    twin = _twin(finding)
    where = f"{place(finding)}{turn}"
    first, *rest = _wrapped(f"  {where}  {printable(finding.message)}{f'  ← {twin}' if twin else ''}", screen)
    lines = [first.replace(where, page.paint(where, "bold"), 1), *rest]
    if pair := _eval_pair(finding):
        return [*lines, *(" " * MARGIN + page.paint(line, "dim") for line in pair)]
    excerpt = excerpts.of(finding)
    if screen is not None:
        excerpt = _fitted(excerpt, max(screen.columns - MARGIN, 20))
    return [*lines, " " * MARGIN + page.paint(excerpt, "dim")] if excerpt else lines


def _wrapped(line: str, screen: Screen | None) -> list[str]:
    """A line as lines that fit the terminal, broken between words, the further ones indented; as it is for a file."""
    if screen is None or cell_len(line) <= screen.columns:
        return [line]
    lines = [""]
    for word in re.split(r"(?<=\S)(?=\s)", line):
        if lines[-1].strip() and cell_len(lines[-1] + word) > screen.columns:
            lines.append(" " * (MARGIN - 2) + word.strip())
        else:
            lines[-1] += word
    return lines


def _eval_pair(finding: Finding) -> list[str]:
    """The words of the row and those of the eval item that they match, one below the other."""
    row, item = finding.evidence.get("row_words"), finding.evidence.get("item_words")
    return [printable(f"row   {row}"), printable(f"item  {item}")] if isinstance(row, str) and item else []


def _twin(finding: Finding) -> str:
    """The place of the other row of a pair; in the same file its line is enough."""
    twin = finding.evidence.get("twin")
    if isinstance(twin, dict) and twin["path"] == finding.path and twin["line"] is not None:
        return f"line {twin['line']}"
    return twin_place(finding)


def _fitted(text: str, cells: int) -> str:
    """The text cut to a number of terminal cells; letters of some scripts take two."""
    if len(text) <= cells // 2 or cell_len(text) <= cells:
        return text
    return chop_cells(text, cells - 1)[0] + "…"


def _at_a_glance(groups: list[tuple[type[Rule], list[Finding]]], page: Screen) -> list[str]:
    """One line for each rule, in the order of the findings."""
    if len(groups) <= RULES_AT_A_GLANCE:
        return []
    width = max(len(rule.name) for rule, _ in groups)
    lines = []
    for rule, found in groups:
        name = page.paint(f"{rule.code} {rule.name:<{width}}", COLOURS[_weight(found)])
        lines.append(f"{name}  {_weight(found):<7}  {len(found):>9,}")
    return [*lines, ""]


# --------------------------------------------------------------------------------------------------------- how to go on


def _next_steps(audit: Audit, groups: list[tuple[type[Rule], list[Finding]]], page: Screen) -> list[str]:
    aside = audit.aside
    steps: list[tuple[str, str]] = []
    if groups:
        steps.append((f"assay explain {groups[0][0].code}", "why it matters, where it errs, what to do"))
    if aside.written is not None:
        steps.append((f"--baseline {shlex.quote(aside.baseline or '')}", "from now on: only new findings count"))
    elif groups and aside.baseline is None:
        steps.append(("--write-baseline", "accept what is there now, so that only new findings count"))
    if aside.gone:
        entries = "1 entry" if aside.gone == 1 else f"{aside.gone:,} entries"
        steps.append(
            ("--write-baseline", f"shrink the baseline: {entries} of it no longer occur{'s' * (aside.gone == 1)}")
        )
    if groups and aside.written is None and aside.baseline is None and len(audit.corpus.sources) == 1:
        path = audit.corpus.sources[0].path
        steps.append((f"assay init {shlex.quote(printable(path))}", "then `assay curate` writes a clean dataset"))
    width = max((len(step) for step, _ in steps), default=0)
    return [f"  {page.paint(f'{step:<{width}}', 'bold')}  {page.paint(why, 'dim')}" for step, why in steps]


def _statistics(audit: Audit) -> list[str]:
    lines = []
    for name, value in audit.statistics.items():
        if isinstance(value, dict):
            said = ", ".join(f"{key} {_number(item)}" for key, item in value.items())
        else:
            said = _number(value)
        if said:
            lines.append(f"{name.replace('_', ' '):>18}  {printable(said)}")
    return lines


def _number(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.0f}" if isinstance(value, int | float) else "none"
