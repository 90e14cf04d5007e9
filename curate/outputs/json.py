"""JSON for programs: every finding, every count."""

from __future__ import annotations

import orjson

from curate.audit import Audit
from curate.outputs.sources import detected
from schemas.terminal import printable_json

SCHEMA = "assay/audit/1"


def render(audit: Audit, limit: int | None, with_statistics: bool = True) -> str:
    """One object: `schema`, `inputs`, `rows`, `findings`, `counts`, `stats`; it always holds every finding that counts.

    Of findings that are in the baseline, waived, or ignored in their file, `stats` says how many there are.
    """
    value = {
        "schema": SCHEMA,
        "inputs": [{"path": s.path, "rows": s.rows, "sha256": s.sha256} for s in audit.corpus.sources],
        "rows": audit.rows,
        "findings": [finding.model_dump(mode="json") for finding in audit.findings],
        "counts": audit.counts,
        "stats": audit.statistics
        | {"not_run": audit.not_run, "sources": detected(audit), "skipped": dict(audit.corpus.skipped)}
        | audit.eval_sets
        | audit.aside.as_json(),
    }
    return printable_json(orjson.dumps(value, option=orjson.OPT_INDENT_2).decode()) + "\n"
