"""JUnit XML: one test case for each rule and file; a rule with findings of error weight fails."""

from __future__ import annotations

from xml.etree import ElementTree

from curate.audit import Audit
from curate.outputs.excerpt import place, twin_place
from curate.outputs.text import summary
from schemas.finding import Finding, Severity
from schemas.terminal import printable

SHOWN = 50


def render(audit: Audit, limit: int | None, with_statistics: bool = False) -> str:
    """A test suite; findings below error weight stand in the output of a passing case."""
    shown = SHOWN if limit is None else limit
    suite = ElementTree.Element("testsuite", name="assay audit")
    properties = ElementTree.SubElement(suite, "properties")
    for name, value in [
        ("summary", summary(audit)),
        *(("warning", f"{n.where}: {n.text}") for n in audit.aside.notices),
    ]:
        ElementTree.SubElement(properties, "property", name=name, value=printable(value))
    failures = skipped = tests = 0
    found: dict[tuple[str, str], list[Finding]] = {}
    for finding in audit.findings:
        found.setdefault((finding.path, finding.code), []).append(finding)
    for source in audit.corpus.sources:
        for rule in audit.rules:
            tests += 1
            case = ElementTree.SubElement(
                suite, "testcase", classname=printable(source.path), name=f"{rule.code} {rule.name}"
            )
            findings = found.get((source.path, rule.code), [])
            if rule.code in audit.not_run:
                skipped += 1
                ElementTree.SubElement(case, "skipped", message=audit.not_run[rule.code])
            elif findings:
                failed = any(finding.severity is Severity.ERROR for finding in findings)
                failures += failed
                rows = f"{len(findings):,} row{'s' if len(findings) != 1 else ''}"
                element = (
                    ElementTree.SubElement(case, "failure", message=f"{rows}: {rule.help}", type=rule.code)
                    if failed
                    else ElementTree.SubElement(case, "system-out")
                )
                element.text = _listed(findings, shown)
    suite.attrib |= {"tests": str(tests), "failures": str(failures), "errors": "0", "skipped": str(skipped)}
    ElementTree.indent(suite)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suite, encoding="unicode") + "\n"


def _listed(findings: list[Finding], shown: int) -> str:
    lines = [_line(finding) for finding in (findings[:shown] if shown else findings)]
    rest = len(findings) - len(lines)
    return "\n".join([*lines, *([f"and {rest:,} more"] if rest else [])])


def _line(finding: Finding) -> str:
    twin = twin_place(finding)
    return f"{place(finding)}: {printable(finding.message)}{f' ({twin})' if twin else ''}"
