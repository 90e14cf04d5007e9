"""Text for people: grouped by rule, with the row, its twin, an excerpt, and what to do."""

from __future__ import annotations

from curate.audit import Audit
from curate.outputs.excerpt import Excerpts, by_rule, place, twin_place
from schemas.finding import Finding
from schemas.terminal import printable

SHOWN = 3


def render(audit: Audit, limit: int | None, with_statistics: bool = False) -> str:
    """The audit as text; `limit` findings of each rule, 3 by default."""
    shown = SHOWN if limit is None else limit
    excerpts = Excerpts(audit)
    lines = [line for source in audit.corpus.sources for line in (_source(audit, source.path),)]
    for rule, found in by_rule(audit):
        severity = min((finding.severity for finding in found), key=lambda level: level.rank)
        lines += ["", f"{rule.code} {rule.name}  {severity}, {_rows(len(found))}"]
        for finding in found[:shown] if shown else found:
            lines += _finding(finding, excerpts)
        if shown and len(found) > shown:
            lines.append(f"  … {len(found) - shown:,} more (--select {rule.code} --max-findings 0 shows all)")
        lines.append(f"  → {rule.help}")
    for code, why in audit.not_run.items():
        lines += ["", f"{code} was not run: {why}"]
    if with_statistics:
        lines += ["", *_statistics(audit)]
    return "\n".join([*lines, "", summary(audit)]) + "\n"


def summary(audit: Audit) -> str:
    """One line: how many rows, and how many findings of each weight."""
    rows = audit.corpus.height
    if not rows:
        return "no rows: nothing can be said about this data"
    if not audit.findings:
        return f"{_rows(rows)}: nothing found"
    levels = [finding.severity.value for finding in audit.findings]
    words = {"error": "error", "warning": "warning", "info": "note"}
    counted = [(levels.count(level), word) for level, word in words.items()]
    said = ", ".join(f"{count:,} {word}{'s' if count != 1 else ''}" for count, word in counted if count)
    touched = len({(finding.path, finding.row) for finding in audit.findings})
    return f"{_rows(rows)}: {said} in {_rows(touched)}"


def _rows(count: int) -> str:
    return f"{count:,} row{'s' if count != 1 else ''}"


def _source(audit: Audit, path: str) -> str:
    source = next(source for source in audit.corpus.sources if source.path == path)
    shapes = statistics_of_source(audit, path)
    return f"{printable(path)}: {_rows(source.rows)}, {source.format}{shapes}"


def statistics_of_source(audit: Audit, path: str) -> str:
    """The record shapes that were found in a file, as words in brackets."""
    number = next(n for n, source in enumerate(audit.corpus.sources) if source.path == path)
    rows = audit.corpus.rows
    shapes = rows.filter(rows["source"] == number)["shape"].drop_nulls().value_counts(sort=True)["shape"].to_list()
    return f" ({', '.join(shapes)})" if shapes else ""


def _finding(finding: Finding, excerpts: Excerpts) -> list[str]:
    turn = f" turn {finding.turn}" if finding.turn is not None else ""
    twin = twin_place(finding)
    first = f"  {place(finding)}{turn}  {printable(finding.message)}{f'  ← {twin}' if twin else ''}"
    excerpt = excerpts.of(finding)
    return [first, f"      {excerpt}"] if excerpt else [first]


def _statistics(audit: Audit) -> list[str]:
    lines = []
    for name, value in audit.statistics.items():
        if isinstance(value, dict):
            said = ", ".join(f"{key} {_number(item)}" for key, item in value.items()) or "none"
        else:
            said = _number(value)
        lines.append(f"{name.replace('_', ' '):>18}  {printable(said)}")
    return lines


def _number(value: object) -> str:
    return f"{value:,.0f}" if isinstance(value, int | float) else "none"
