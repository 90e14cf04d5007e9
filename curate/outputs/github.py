"""Workflow commands that GitHub shows as annotations at the file's line."""

from __future__ import annotations

from collections import Counter

from curate.audit import Audit
from curate.outputs.excerpt import twin_place
from curate.outputs.text import summary
from curate.set_aside import Notice
from schemas.finding import Finding, Severity
from schemas.terminal import printable

COMMANDS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "notice"}
PER_STEP = 10
"""GitHub shows this many annotations of each level and step; the last one is kept for the sum."""


def render(audit: Audit, limit: int | None, with_statistics: bool = False) -> str:
    """Annotations: of each level as many as GitHub shows, spread over the rules, and one line that sums up."""
    shown = PER_STEP - 1 if not limit else min(limit, PER_STEP - 1)
    notices = audit.aside.notices[: PER_STEP // 2]
    lines = [_notice(notice) for notice in notices]
    for level, command in COMMANDS.items():
        of_level = [finding for finding in audit.findings if finding.severity is level]
        room = PER_STEP - 1 - (len(notices) if level is Severity.WARNING else 0)
        lines += [_annotation(command, finding) for finding in spread(of_level, min(shown, room))]
    counts = ", ".join(f"{code} {count:,}" for code, count in audit.counts.items())
    lines.append(f"::notice title=assay audit::{_data(summary(audit) + (f' ({counts})' if counts else ''))}")
    return "\n".join(lines) + "\n"


def spread(findings: list[Finding], most: int) -> list[Finding]:
    """At most so many findings, taken in turn from each rule, in their order."""
    seen: Counter[str] = Counter()
    ranked = []
    for position, finding in enumerate(findings):
        ranked.append((seen[finding.code], position))
        seen[finding.code] += 1
    return [findings[position] for _, position in sorted(sorted(ranked)[:most], key=lambda item: item[1])]


def _annotation(command: str, finding: Finding) -> str:
    line = f",line={finding.line}" if finding.line is not None else ""
    twin = twin_place(finding)
    text = finding.message + (f" ({twin})" if twin else "")
    where = f"file={_property(finding.path)}{line},title={_property(f'{finding.code} {finding.name}')}"
    return f"::{command} {where}::{_data(text)}"


def _notice(notice: Notice) -> str:
    line = f",line={notice.line}" if notice.line is not None else ""
    return f"::warning file={_property(notice.path)}{line},title=assay audit::{_data(notice.text)}"


def _data(text: str) -> str:
    return printable(text).replace("%", "%25")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
