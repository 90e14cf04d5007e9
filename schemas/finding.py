"""One finding of the audit: a rule's code, its row, and the evidence."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from pydantic import Field

from schemas.base import Strict, fingerprint


class Severity(StrEnum):
    """How much a finding weighs; `--fail-on` compares by this order."""

    ERROR = "error"
    WARNING = "warning"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 for the heaviest."""
        return list(Severity).index(self)


class Finding(Strict):
    """One fault of one row, addressed by file and line."""

    code: str
    """Rule code, for example DUP201."""
    name: str
    """Rule name in kebab-case, for example exact-duplicate."""
    severity: Severity
    path: str
    """File the row came from, as the user named it."""
    line: int | None
    """1-based physical line; null where the format has no lines (Parquet)."""
    row: int | None = None
    """0-based index of the record in its file; null for a finding about the whole file."""
    row_id: str | None
    """Digest of the row's canonical content; null where nothing could be parsed."""
    turn: int | None = None
    """0-based message index; null where the finding concerns the whole row."""
    message: str
    """One sentence in plain words, without personal data or secrets in clear."""
    evidence: dict[str, Any] = Field(default_factory=dict)
    """What was measured. Pair findings carry `twin`, `measure` and `similarity`."""
    fingerprint: str
    """Digest of (code, row_id, turn, detail): stable when rows are re-ordered."""


def finding_fingerprint(code: str, row_id: str | None, turn: int | None, detail: str) -> str:
    """Identity of a finding that survives re-ordering of rows and renaming of files."""
    return fingerprint([code, row_id, turn, detail])[:32]
