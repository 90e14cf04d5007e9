"""A verdict for each kind of reader: terminal, JSON, Markdown, JUnit, GitHub annotations.

Messages hold numbers and names from the config; whatever they hold, control characters reach no terminal and no file.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

from schemas.verdict import PRECEDENCE, Check, Outcome, Verdict

COMMENT_CHARS = 65_536
"""What GitHub takes as one comment; a job summary takes more."""
SPARE_CHARS = 200
ANNOTATIONS = 10
"""What GitHub shows of each level and step."""

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")
"""Terminal escapes, and what XML 1.0 cannot carry."""


def clean(text: str) -> str:
    """The text with each control character and lone surrogate replaced by a visible mark."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)


def as_text(verdict: Verdict) -> str:
    """Lines for a terminal: one check a paragraph, the verdict last."""
    width = max((len(check.name) for check in verdict.checks), default=0)
    lines = [f"gate {verdict.gate}"]
    for check in verdict.checks:
        lines.append(f"  {_word(check.outcome):<14}  {check.name:<{width}}  {check.message}")
        if check.help and check.outcome not in (Outcome.PASS, Outcome.NOT_APPLICABLE):
            lines.append(f"  {'':<14}  {'':<{width}}  help: {check.help}")
    lines.append(f"{_word(verdict.outcome)}: {verdict.summary}")
    return "\n".join(clean(line) for line in lines) + "\n"


def as_json(verdict: Verdict) -> str:
    """The verdict as `verdict.json` holds it."""
    return verdict.model_dump_json(indent=1) + "\n"


def as_markdown(verdict: Verdict) -> str:
    """A table of checks and the digests of what was judged, as one comment takes it.

    The first line is hidden and always the same for a gate, so that a job finds its former comment and replaces it.
    """
    lines = [
        f"<!-- assay gate {verdict.gate} -->",
        f"# Gate {verdict.gate}: {_word(verdict.outcome)}",
        "",
        _cell(verdict.summary),
        "",
        "| check | outcome | what was found |",
        "|---|---|---|",
    ]
    tail = ["", "| judged | sha256 |", "|---|---|"]
    tail += [f"| {_cell(role)} | `{_cell(value)}` |" for role, value in sorted(verdict.subject.items())]
    room = COMMENT_CHARS - sum(len(line) + 1 for line in (*lines, *tail)) - SPARE_CHARS
    rows = [_row(check) for check in verdict.checks]
    # What decides comes first where not everything has room.
    ranked = sorted(range(len(rows)), key=lambda place: _weight(verdict.checks[place]))
    kept = set()
    for place in ranked:
        room -= len(rows[place]) + 1
        if room < 0:
            break
        kept.add(place)
    lines += [row for place, row in enumerate(rows) if place in kept]
    left = len(rows) - len(kept)
    lines += [f"| | | {left:,} more checks have no room in a comment: verdict.json holds them |"] if left else []
    return "\n".join([*lines, *tail]) + "\n"


def _row(check: Check) -> str:
    advice = f" **What to do:** {_cell(check.help)}." if check.help and check.outcome is not Outcome.PASS else ""
    return f"| `{_cell(check.name)}` | {_word(check.outcome)} | {_cell(check.message)}.{advice} |"


def _weight(check: Check) -> int:
    """0 for what decides most; advisory checks last."""
    return PRECEDENCE.index(check.outcome) if check.outcome in PRECEDENCE else len(PRECEDENCE)


JUNIT_TAGS = {Outcome.PASS: "system-out", Outcome.FAIL: "failure", Outcome.STALE: "error"}


def as_junit(verdict: Verdict) -> str:
    """JUnit XML: what failed is a failure, what is stale an error, all else but a pass is skipped."""
    tags = [JUNIT_TAGS.get(check.outcome, "skipped") for check in verdict.checks]
    counts: dict[str, Any] = {
        "tests": str(len(tags)),
        "failures": str(tags.count("failure")),
        "errors": str(tags.count("error")),
        "skipped": str(tags.count("skipped")),
    }
    suites = ElementTree.Element("testsuites", name="assay", **counts)
    suite = ElementTree.SubElement(suites, "testsuite", name=f"assay gate {verdict.gate}", **counts)
    for check, tag in zip(verdict.checks, tags, strict=True):
        subject, _, condition = clean(check.name).rpartition(":")
        case = ElementTree.SubElement(
            suite, "testcase", classname=f"gate.{verdict.gate}" + (f".{subject}" if subject else ""), name=condition
        )
        said = clean(check.message)
        found = ElementTree.SubElement(case, tag)
        if tag == "system-out":
            found.text = said
            continue
        found.set("message", f"{_word(check.outcome)}: {said}" if tag == "skipped" else said)
        if tag != "skipped":
            found.set("type", "gate")
            found.text = clean(check.help)
    ElementTree.indent(suites)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"


def as_github(verdict: Verdict) -> str:
    """Workflow commands that GitHub shows as annotations: of each level as many as it shows, the verdict last."""
    lines = []
    room = dict.fromkeys(("error", "warning", "notice"), ANNOTATIONS)
    last = LEVELS.get(verdict.outcome, "warning")
    room[last] -= 1
    for check in verdict.checks:
        level = LEVELS.get(check.outcome, "warning")
        room[level] -= 1
        if room[level] >= 0:
            lines.append(f"::{level} title={_property(check.name)}::{_data(_sentence(check))}")
    lines.append(f"::{last} title={_property(f'gate {verdict.gate}')}::{_data(verdict.summary)}")
    return "\n".join(lines) + "\n"


LEVELS = {Outcome.FAIL: "error", Outcome.PASS: "notice", Outcome.NOT_APPLICABLE: "notice"}


FORMATS: dict[str, Callable[[Verdict], str]] = {
    "text": as_text,
    "json": as_json,
    "markdown": as_markdown,
    "junit": as_junit,
    "github": as_github,
}
"""Format name -> renderer."""


def _word(outcome: Outcome) -> str:
    return outcome.value.replace("_", " ")


def _sentence(check: Check) -> str:
    return f"{_word(check.outcome)}: {check.message}" + (f" ({check.help})" if check.help else "")


def _cell(text: str) -> str:
    """Text that cannot end a table cell, start a tag or a code span, or break the line."""
    safe = clean(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return safe.replace("|", "\\|").replace("`", "'").replace("\n", " ").replace("\t", " ")


def _data(text: str) -> str:
    return clean(text).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
