"""SARIF 2.1.0 for code scanning and editors: every finding at its line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import orjson

from curate.audit import Audit
from schemas.finding import Finding, Severity
from schemas.terminal import printable, printable_json

LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
SCHEMA_URI = "https://json.schemastore.org/sarif-2.1.0.json"
PER_RUN = 25_000
"""Code scanning refuses a run with more results, and two runs of one tool unless their ids differ."""


def render(audit: Audit, limit: int | None, with_statistics: bool = False) -> str:
    """SARIF with every finding: one run, or as many as it takes where a run would be too long."""
    rules = [
        {
            "id": rule.code,
            "name": rule.name,
            "shortDescription": {"text": (type(rule).__doc__ or rule.name).strip().splitlines()[0]},
            "help": {"text": rule.help},
            "defaultConfiguration": {"level": LEVELS[rule.effective_severity]},
        }
        for rule in audit.rules
    ]
    return sarif(audit.findings, rules)


def sarif(findings: Sequence[Finding], rules: Sequence[Mapping[str, Any]]) -> str:
    """Findings as SARIF.

    Args:
        findings: of the rules.
        rules: SARIF's reportingDescriptor of each rule that was run, its code as `id`.
    """
    codes = [rule["id"] for rule in rules]
    parts = [findings[start : start + PER_RUN] for start in range(0, len(findings), PER_RUN)] or [()]
    runs = []
    for number, part in enumerate(parts, 1):
        run: dict[str, Any] = {
            "tool": {"driver": {"name": "assay", "rules": rules}},
            "columnKind": "unicodeCodePoints",
            "results": [_result(finding, codes) for finding in part],
        }
        if number > 1:
            run["automationDetails"] = {"id": f"assay/{number}/"}
        runs.append(run)
    value = {"$schema": SCHEMA_URI, "version": "2.1.0", "runs": runs}
    return printable_json(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()) + "\n"


def _result(finding: Finding, codes: list[str]) -> dict[str, Any]:
    result = {
        "ruleId": finding.code,
        "ruleIndex": codes.index(finding.code),
        "level": LEVELS[finding.severity],
        "message": {"text": printable(finding.message)},
        "locations": [_location(finding.path, finding.line)],
        "partialFingerprints": {"assay/v1": finding.fingerprint},
        "properties": {
            "row": finding.row,
            "row_id": finding.row_id,
            "turn": finding.turn,
            "evidence": finding.evidence,
        },
    }
    twin = finding.evidence.get("twin")
    if isinstance(twin, dict):
        other = _location(twin["path"], twin["line"]) | {"id": 1, "message": {"text": "the row it repeats"}}
        result["relatedLocations"] = [other]
    return result


def _location(path: str, line: int | None) -> dict[str, Any]:
    place: dict[str, Any] = {"artifactLocation": {"uri": quote(path)}}
    if line is not None:
        place["region"] = {"startLine": line}
    return {"physicalLocation": place}
