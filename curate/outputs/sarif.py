"""SARIF 2.1.0 for code scanning and editors: every finding at its line."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import orjson

from curate.audit import Audit
from schemas.finding import Finding, Severity
from schemas.terminal import printable

LEVELS = {Severity.ERROR: "error", Severity.WARNING: "warning", Severity.INFO: "note"}
SCHEMA_URI = "https://json.schemastore.org/sarif-2.1.0.json"


def render(audit: Audit, limit: int | None, with_statistics: bool = False) -> str:
    """One run of SARIF; it always holds every finding."""
    codes = [rule.code for rule in audit.rules]
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
    value = {
        "$schema": SCHEMA_URI,
        "version": "2.1.0",
        "runs": [
            {
                "tool": {"driver": {"name": "assay", "rules": rules}},
                "columnKind": "unicodeCodePoints",
                "results": [_result(finding, codes) for finding in audit.findings],
            }
        ],
    }
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n"


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
