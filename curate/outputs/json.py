"""JSON for programs: every finding, every count."""

from __future__ import annotations

import orjson

from curate.audit import Audit

SCHEMA = "assay/audit/1"


def render(audit: Audit, limit: int | None, with_statistics: bool = True) -> str:
    """One object: `schema`, `inputs`, `rows`, `findings`, `counts`, `stats`. It always holds everything."""
    value = {
        "schema": SCHEMA,
        "inputs": [{"path": s.path, "rows": s.rows, "sha256": s.sha256} for s in audit.corpus.sources],
        "rows": audit.corpus.height,
        "findings": [finding.model_dump(mode="json") for finding in audit.findings],
        "counts": audit.counts,
        "stats": audit.statistics | {"not_run": audit.not_run},
    }
    return orjson.dumps(value, option=orjson.OPT_INDENT_2).decode() + "\n"
