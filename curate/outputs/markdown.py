"""Markdown for a comment on a pull request."""

from __future__ import annotations

from curate.audit import Audit
from curate.outputs.excerpt import Excerpts, by_rule, idle_rules, markdown, place, twin_place
from curate.outputs.sources import eval_lines
from curate.outputs.text import summary
from curate.rules.base import Rule
from schemas.finding import Finding

SHOWN = 3
COMMENT_CHARS = 65_536
"""What GitHub takes as one comment."""
SPARE_CHARS = 200
"""For the lines that say what was left out."""


def render(audit: Audit, limit: int | None, with_statistics: bool = False) -> str:
    """A table of rules, then `limit` findings of each, 3 by default, as many as one comment takes."""
    shown = SHOWN if limit is None else limit
    lines = ["## assay audit", "", markdown(summary(audit)), ""]
    lines += [f"- **{markdown(notice.where)}** {markdown(notice.text)}" for notice in audit.aside.notices]
    lines += [""] if audit.aside.notices else []
    groups = list(by_rule(audit))
    if groups:
        lines += ["| rule | severity | rows | what to do |", "|---|---|---|---|"]
        for rule, found in groups:
            severity = min((finding.severity for finding in found), key=lambda level: level.rank)
            lines.append(f"| {rule.code} {rule.name} | {severity} | {len(found):,} | {markdown(rule.help)} |")
        lines.append("")
    tail = [f"- {markdown(line)}" for line in (*eval_lines(audit.eval_sets), *idle_rules(audit))]
    if with_statistics:
        tail += _statistics(audit)
    excerpts = Excerpts(audit)
    room = COMMENT_CHARS - _size(lines) - _size(tail) - SPARE_CHARS
    for number, (rule, found) in enumerate(groups):
        block = _examples(rule, found, shown, excerpts, room)
        if _size(block) > room:
            lines += [f"{len(groups) - number} more rules have no room in a comment: `assay audit` shows them.", ""]
            break
        lines += block
        room -= _size(block)
    return "\n".join([*lines, *tail]).rstrip() + "\n"


def _examples(rule: type[Rule], found: list[Finding], limit: int, excerpts: Excerpts, room: int) -> list[str]:
    """The first findings of a rule, `limit` (0 for all) or as many as there is room for; the others are counted."""
    before, after = ["<details>", f"<summary>{rule.code} {rule.name}</summary>", ""], ["", "</details>", ""]
    room -= _size(before) + _size(after) + SPARE_CHARS
    items: list[str] = []
    shown = 0
    for finding in found[:limit] if limit else found:
        twin = twin_place(finding)
        first = f"- **{markdown(place(finding))}** {markdown(finding.message)}"
        item = [first + (f" ({markdown(twin)})" if twin else "")]
        if excerpt := excerpts.of(finding):
            item.append(f"  {markdown(excerpt)}")
        room -= _size(item)
        if room < 0:
            break
        items += item
        shown += 1
    if shown < len(found):
        items.append(f"- and {len(found) - shown:,} more")
    return [*before, *items, *after]


def _size(lines: list[str]) -> int:
    """Characters of the lines with their ends."""
    return sum(map(len, lines)) + len(lines)


def _statistics(audit: Audit) -> list[str]:
    lines = ["", "| | |", "|---|---|"]
    for name, value in audit.statistics.items():
        said = ", ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, dict) else str(value)
        lines.append(f"| {name.replace('_', ' ')} | {markdown(said)} |")
    return lines
