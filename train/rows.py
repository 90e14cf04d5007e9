"""Rows of a curated split, and which of them are trained."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from schemas.errors import UserError

COLUMNS = ("row_id", "label", "component", "path", "line")


class SplitRow(NamedTuple):
    """One row of a split of a curated dataset."""

    row_id: str
    label: str | None
    """What the split was stratified by, or a short answer; null for long answers."""
    component: int
    """Rows of one component are near-duplicates or of one group: the unit that is drawn independently."""
    path: str
    line: int | None
    record: dict[str, Any]
    """The row as `data/*.jsonl` has it: TRL's and OpenAI's fields, by kind."""

    @property
    def place(self) -> str:
        """Where the row came from, as `file:line`."""
        return self.path if self.line is None else f"{self.path}:{self.line}"

    @property
    def messages(self) -> list[dict[str, Any]]:
        """The row as one conversation that ends in its answer; of a preference, in the better one."""
        if "messages" in self.record:
            return list(self.record["messages"])
        if "text" in self.record:
            return [{"role": "assistant", "content": self.record["text"]}]
        name = next((name for name in ("chosen", "completion", "reference") if name in self.record), None)
        return [] if name is None else self.answered(name)

    def answered(self, name: str) -> list[dict[str, Any]]:
        """The prompt with one of the row's answers; what the assistant said in the prompt is marked as untrained."""
        turns = self.record["prompt"]
        prompt = [{**turn, "weight": 0} if turn.get("role") == "assistant" else turn for turn in turns]
        answer = self.record[name]
        if name == "reference":
            answer = [{"role": "assistant", "content": answer}] if isinstance(answer, str) else []
        return [*prompt, *answer]

    @property
    def tools(self) -> list[Any] | None:
        """The tools that the conversation may call."""
        return self.record.get("tools")


def read_split(dataset: Path, split: str) -> list[SplitRow]:
    """Read one split of a curated dataset, in its order.

    Args:
        dataset: the stage folder of `curate`.
        split: `train`, `validation` or `test`.

    Raises:
        UserError: the split is missing, or its two files do not have the same rows.
    """
    table, lines = dataset / "data" / f"{split}.parquet", dataset / "data" / f"{split}.jsonl"
    for path in (table, lines):
        if not path.is_file():
            raise UserError(
                f"the dataset has no {split} split",
                where=str(path),
                found="no such file",
                help="run `assay curate` again, or wrap your own dataset with `assay import`",
            )
    frame = pl.read_parquet(table)
    missing = [name for name in COLUMNS if name not in frame.columns]
    records = [json.loads(line) for line in lines.read_bytes().split(b"\n") if line]
    if missing or len(records) != len(frame):
        raise UserError(
            f"the {split} split is not as `assay curate` writes it",
            where=str(table),
            found=f"no column {', '.join(missing)}" if missing else f"{len(frame)} rows, and {len(records)} as JSONL",
            expected="the same rows in the Parquet and the JSONL file",
            help="run `assay curate` again",
        )
    keys = frame.select(COLUMNS).iter_rows()
    return [SplitRow(*(*key, record)) for key, record in zip(keys, records, strict=True)]


def choose_rows(rows: Sequence[SplitRow], limit: int | None, seed: int) -> list[SplitRow]:
    """A seeded subset with the same shares of labels as all rows.

    Rows are ranked within their label by a hash of seed and row id, so the choice does not depend on the rows' order
    and, but for rounding, a larger limit only adds rows. Shares are rounded by largest remainder.

    Args:
        rows: all rows of a split.
        limit: most rows to take; null takes all.
        seed: another seed gives another subset.

    Returns:
        The chosen rows in their original order.
    """
    if limit is None or len(rows) <= limit:
        return list(rows)
    strata: dict[str | None, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        strata[row.label].append(index)
    chosen: list[int] = []
    for label, quota in _quotas({label: len(members) for label, members in strata.items()}, limit).items():
        chosen += sorted(strata[label], key=lambda index: _rank(rows[index].row_id, seed))[:quota]
    return [rows[index] for index in sorted(chosen)]


def _rank(row_id: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}:{row_id}".encode()).digest()


def _quotas(sizes: dict[str | None, int], limit: int) -> dict[str | None, int]:
    """Split `limit` over strata in proportion to their sizes (largest remainder, ties by label)."""
    total = sum(sizes.values())
    quotas = {label: size * limit // total for label, size in sizes.items()}
    by_remainder = sorted(sizes, key=lambda label: (-(sizes[label] * limit % total), label or ""))
    for label in by_remainder[: limit - sum(quotas.values())]:
        quotas[label] += 1
    return quotas
