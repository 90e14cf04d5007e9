"""A verdict for each kind of reader: terminal, JSON, Markdown, JUnit, GitHub annotations.

Messages hold numbers and names from the config; whatever they hold, control characters reach no terminal and no file.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from xml.etree import ElementTree

from schemas.verdict import Check, Outcome, Verdict

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
    """A table of checks and the digests of what was judged."""
    lines = [
        f"# Gate {verdict.gate}: {_word(verdict.outcome)}",
        "",
        _cell(verdict.summary),
        "",
        "| check | outcome | what was found |",
        "|---|---|---|",
    ]
    for check in verdict.checks:
        advice = f" **What to do:** {_cell(check.help)}." if check.help and check.outcome is not Outcome.PASS else ""
        lines.append(f"| `{_cell(check.name)}` | {_word(check.outcome)} | {_cell(check.message)}.{advice} |")
    lines += ["", "| judged | sha256 |", "|---|---|"]
    lines += [f"| {_cell(role)} | `{value}` |" for role, value in sorted(verdict.subject.items())]
    return "\n".join(lines) + "\n"


def as_junit(verdict: Verdict) -> str:
    """JUnit XML: a failed check is a failure, one without enough evidence is skipped with its reason."""
    failures = sum(check.outcome is Outcome.FAIL for check in verdict.checks)
    skipped = sum(check.outcome not in (Outcome.FAIL, Outcome.PASS) for check in verdict.checks)
    counts: dict[str, Any] = {
        "tests": str(len(verdict.checks)),
        "failures": str(failures),
        "errors": "0",
        "skipped": str(skipped),
    }
    suites = ElementTree.Element("testsuites", name="assay", **counts)
    suite = ElementTree.SubElement(suites, "testsuite", name=f"assay gate {verdict.gate}", **counts)
    for check in verdict.checks:
        subject, _, condition = clean(check.name).rpartition(":")
        case = ElementTree.SubElement(
            suite, "testcase", classname=f"gate.{verdict.gate}" + (f".{subject}" if subject else ""), name=condition
        )
        said = clean(check.message)
        if check.outcome is Outcome.PASS:
            ElementTree.SubElement(case, "system-out").text = said
            continue
        tag = "failure" if check.outcome is Outcome.FAIL else "skipped"
        found = ElementTree.SubElement(case, tag, message=said)
        if tag == "failure":
            found.set("type", "gate")
            found.text = clean(check.help)
        else:
            found.set("message", f"{_word(check.outcome)}: {said}")
    ElementTree.indent(suites)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"


def as_github(verdict: Verdict) -> str:
    """Workflow commands that GitHub shows as annotations."""
    levels = {Outcome.FAIL: "error", Outcome.PASS: "notice", Outcome.NOT_APPLICABLE: "notice"}
    lines = [
        f"::{levels.get(check.outcome, 'warning')} title={_property(check.name)}::{_data(_sentence(check))}"
        for check in verdict.checks
    ]
    level = levels.get(verdict.outcome, "warning")
    lines.append(f"::{level} title={_property(f'gate {verdict.gate}')}::{_data(verdict.summary)}")
    return "\n".join(lines) + "\n"


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
