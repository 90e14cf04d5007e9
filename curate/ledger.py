"""The account of a curation: every row that came in is kept, or dropped by one named rule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
import polars as pl

from curate.export import ROWS_PER_PART
from curate.rows import Corpus
from curate.spill import Spill
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
DROPS_SCHEMA = {"index": pl.UInt32} | {name: kind for name, kind in DROPPED_SCHEMA.items() if name != "raw"}
FINDINGS_NAMED = 1000
"""Findings of rows that stay are counted; so many of each rule are told in full."""


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
class Remaining:
    """What one rule found in rows that stayed."""

    rows: int = 0
    first: list[Finding] = field(default_factory=list)
    """The findings of the first of these rows, FINDINGS_NAMED at most."""

    def add(self, findings: list[Finding]) -> None:
        """Count some more, in the order of the rows."""
        self.rows += len(findings)
        self.first += findings[: FINDINGS_NAMED - len(self.first)]


@dataclass
class Ledger:
    """Filled step by step while the pipeline runs."""

    rows_in: int
    steps: list[Step] = field(default_factory=list)
    searches: list[dict[str, Any]] = field(default_factory=list)
    """What each step that searched for near-duplicates searched, for the report."""
    keep: dict[str, Any] = field(default_factory=dict)
    """What the keep list did; empty where there is none."""
    spill: Spill | None = field(default=None, repr=False)
    """Where the account of dropped rows lies; null for memory."""
    _parts: list[pl.DataFrame] = field(default_factory=list, repr=False)

    @property
    def drops(self) -> pl.DataFrame:
        """Why each dropped row was dropped, with the columns of DROPS_SCHEMA, step by step, each in reading order."""
        return pl.concat([pl.DataFrame(schema=DROPS_SCHEMA), *self._parts], rechunk=False)

    @property
    def rows_dropped(self) -> int:
        """Number of rows in `drops`."""
        return sum(part.height for part in self._parts)

    def told(self, findings: dict[int, Finding]) -> pl.DataFrame:
        """Why rows are to be dropped, as `take` takes it.

        Args:
            findings: row index -> the finding for which the row is dropped.
        """
        rows = [(index, *_told(finding)) for index, finding in findings.items()]
        part = pl.DataFrame(rows, schema=DROPS_SCHEMA, orient="row")
        return part if self.spill is None else self.spill.frame(part)

    def take(self, drops: Iterable[pl.DataFrame]) -> None:
        """Note the rows that a step has dropped; each row once in a run."""
        self._parts += drops

    def close(self, kept: int) -> None:
        """Check that nothing was lost and nothing invented.

        Raises:
            ConservationError: rows in != rows kept + rows dropped, in a step or over all, or a row was dropped twice.
        """
        rows = self.rows_in
        for step in self.steps:
            if step.rows_in != rows:
                raise ConservationError(f"curate: before {step.name}", rows, step.rows_in, 0)
            rows -= step.rows_dropped
        dropped = self.drops["index"].n_unique()
        if rows != kept or self.rows_in != kept + dropped or dropped != self.rows_dropped:
            raise ConservationError("curate", self.rows_in, kept, self.rows_dropped)

    def as_json(self, splits: dict[str, int]) -> dict[str, Any]:
        """What `ledger.json` holds.

        Raises:
            ConservationError: the splits do not hold all kept rows.
        """
        kept = self.rows_in - self.rows_dropped
        if sum(splits.values()) != kept:
            raise ConservationError("curate: splits", kept, sum(splits.values()), 0)
        return {
            "schema": SCHEMA,
            "rows_in": self.rows_in,
            "rows_kept": kept,
            "rows_dropped": self.rows_dropped,
            "rows_changed": sum(step.rows_changed for step in self.steps),
            "by_rule": dict(self.drops["code"].value_counts().sort("code").iter_rows()),
            "steps": [vars(step) for step in self.steps],
            "splits": splits,
            "keep": self.keep,
        }

    def dropped_frames(self, corpus: Corpus) -> Iterator[pl.DataFrame]:
        """One row for each dropped row, in reading order, with the bytes it had; part by part.

        Args:
            corpus: all rows that came in.
        """
        drops = self.drops.sort("index")
        drops = drops if self.spill is None else self.spill.frame(drops)
        for part in drops.iter_slices(ROWS_PER_PART):
            raw = pl.Series("raw", [corpus.raw(index) for index in part["index"]], dtype=pl.Binary)
            yield part.drop("index").with_columns(raw)


def _told(finding: Finding) -> tuple[Any, ...]:
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
