"""The account of a curation: every row that came in is kept, or dropped by one named rule."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
import polars as pl

from curate.export import ROWS_PER_PART
from curate.rows import Corpus
from schemas.errors import ConservationError
from schemas.finding import Finding

SCHEMA = "assay/ledger/1"
DROPPED_SCHEMA: dict[str, Any] = {
    "row_id": pl.String,
    "path": pl.String,
    "line": pl.Int64,
    "row": pl.Int64,
    "code": pl.String,
    "name": pl.String,
    "message": pl.String,
    "evidence": pl.String,
    "measure": pl.String,
    "similarity": pl.Float64,
    "survivor_row_id": pl.String,
    "survivor_path": pl.String,
    "survivor_line": pl.Int64,
    "fingerprint": pl.String,
    "raw": pl.Binary,
}


@dataclass(frozen=True)
class Step:
    """One rule's work."""

    code: str
    name: str
    action: str
    rows_in: int
    rows_dropped: int
    rows_changed: int
    rows_found: int
    """Rows on which the rule fired, whatever was done about it."""
    not_run: str = ""
    """Why it was not run; empty where it was."""
    rows_spared: int = 0
    """Rows that the rule would have dropped and the keep list holds."""


@dataclass
class Ledger:
    """Filled step by step while the pipeline runs."""

    rows_in: int
    steps: list[Step] = field(default_factory=list)
    drops: dict[int, Finding] = field(default_factory=dict)
    """Row index -> why it was dropped."""
    searches: list[dict[str, Any]] = field(default_factory=list)
    """What each step that searched for near-duplicates searched, for the report."""
    keep: dict[str, Any] = field(default_factory=dict)
    """What the keep list did; empty where there is none."""

    def close(self, kept: int) -> None:
        """Check that nothing was lost and nothing invented.

        Raises:
            ConservationError: rows in != rows kept + rows dropped, in a step or over all.
        """
        rows = self.rows_in
        for step in self.steps:
            if step.rows_in != rows:
                raise ConservationError(f"curate: before {step.name}", rows, step.rows_in, 0)
            rows -= step.rows_dropped
        if rows != kept or self.rows_in != kept + len(self.drops):
            raise ConservationError("curate", self.rows_in, kept, len(self.drops))

    def as_json(self, splits: dict[str, int]) -> dict[str, Any]:
        """What `ledger.json` holds.

        Raises:
            ConservationError: the splits do not hold all kept rows.
        """
        kept = self.rows_in - len(self.drops)
        if sum(splits.values()) != kept:
            raise ConservationError("curate: splits", kept, sum(splits.values()), 0)
        return {
            "schema": SCHEMA,
            "rows_in": self.rows_in,
            "rows_kept": kept,
            "rows_dropped": len(self.drops),
            "rows_changed": sum(step.rows_changed for step in self.steps),
            "by_rule": dict(sorted(Counter(finding.code for finding in self.drops.values()).items())),
            "steps": [vars(step) for step in self.steps],
            "splits": splits,
            "keep": self.keep,
        }

    def dropped_frames(self, corpus: Corpus) -> Iterator[pl.DataFrame]:
        """One row for each dropped row, in reading order, with the bytes it had; part by part.

        Args:
            corpus: all rows that came in.
        """
        indexes = sorted(self.drops)
        for start in range(0, len(indexes), ROWS_PER_PART):
            rows = [
                (*_dropped(self.drops[index]), corpus.raw(index)) for index in indexes[start : start + ROWS_PER_PART]
            ]
            yield pl.DataFrame(rows, schema=DROPPED_SCHEMA, orient="row")


def _dropped(finding: Finding) -> tuple[Any, ...]:
    """What DROPPED_SCHEMA holds of a finding: all but the bytes."""
    evidence = finding.evidence
    twin = evidence.get("twin") or {}
    return (
        finding.row_id,
        finding.path,
        finding.line,
        finding.row,
        finding.code,
        finding.name,
        finding.message,
        orjson.dumps(evidence, option=orjson.OPT_SORT_KEYS).decode(),
        evidence.get("measure"),
        evidence.get("similarity"),
        twin.get("row_id"),
        twin.get("path"),
        twin.get("line"),
        finding.fingerprint,
    )
