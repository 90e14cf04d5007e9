"""Markdown for a comment on a pull request."""

from __future__ import annotations

from curate.audit import Audit
from curate.outputs.excerpt import Excerpts, by_rule, idle_rules, markdown, place, twin_place
from curate.outputs.sources import eval_lines
from curate.outputs.text import summary

SHOWN = 3


def render(audit: Audit, limit: int | None, with_statistics: bool = False) -> str:
    """A table of rules, then `limit` findings of each, 3 by default."""
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
    excerpts = Excerpts(audit)
    for rule, found in groups:
        lines += ["<details>", f"<summary>{rule.code} {rule.name}</summary>", ""]
        for finding in found[:shown] if shown else found:
            twin = twin_place(finding)
            first = f"- **{markdown(place(finding))}** {markdown(finding.message)}"
            lines.append(first + (f" ({markdown(twin)})" if twin else ""))
            if excerpt := excerpts.of(finding):
                lines.append(f"  {markdown(excerpt)}")
        if shown and len(found) > shown:
            lines.append(f"- and {len(found) - shown:,} more")
        lines += ["", "</details>", ""]
    lines += [f"- {markdown(line)}" for line in (*eval_lines(audit.eval_sets), *idle_rules(audit))]
    if with_statistics:
        lines += _statistics(audit)
    return "\n".join(lines).rstrip() + "\n"


def _statistics(audit: Audit) -> list[str]:
    lines = ["", "| | |", "|---|---|"]
    for name, value in audit.statistics.items():
        said = ", ".join(f"{key} {item}" for key, item in value.items()) if isinstance(value, dict) else str(value)
        lines.append(f"| {name.replace('_', ' ')} | {markdown(said)} |")
    return lines
