"""Rows of a curated split: which of them are trained, and what the trainer will receive of each."""

from __future__ import annotations

import hashlib
import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import polars as pl

from curate.supervision import Supervised, SupervisionError, Supervisor
from schemas.errors import Problem, UserError

SHOWN_PROBLEMS = 5
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
    messages: list[dict[str, Any]]
    tools: list[Any] | None

    @property
    def place(self) -> str:
        """Where the row came from, as `file:line`."""
        return self.path if self.line is None else f"{self.path}:{self.line}"


@dataclass(frozen=True)
class TokenLedger:
    """What the trainer will receive, counted before it does."""

    rows: int
    tokens: int
    supervised_tokens: int
    truncated_tokens: int
    truncated_rows: int
    rows_with_end_of_turn: int
    """Rows whose supervised turns all end in a supervised end-of-turn token."""

    @classmethod
    def of(cls, rows: Iterable[Supervised]) -> TokenLedger:
        """Count."""
        rows = list(rows)
        return cls(
            rows=len(rows),
            tokens=sum(len(row.input_ids) for row in rows),
            supervised_tokens=sum(row.supervised_tokens for row in rows),
            truncated_tokens=sum(row.truncated_tokens for row in rows),
            truncated_rows=sum(row.truncated_tokens > 0 for row in rows),
            rows_with_end_of_turn=sum(row.end_of_turn_supervised for row in rows),
        )


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
    return [_split_row(*key, record=record) for key, record in zip(keys, records, strict=True)]


def _split_row(
    row_id: str, label: str | None, component: int, path: str, line: int | None, *, record: dict[str, Any]
) -> SplitRow:
    messages = record.get("messages")
    if not isinstance(messages, list):
        raise UserError(
            "the row is not a conversation, and method `sft` trains conversations",
            where=path if line is None else f"{path}:{line}",
            found=f"fields {', '.join(sorted(record))}",
            expected="messages",
            help="use chat or prompt-completion rows with train.method sft",
        )
    return SplitRow(row_id, label, component, path, line, messages, record.get("tools"))


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


def supervise(supervisor: Supervisor, rows: Sequence[SplitRow], split: str) -> list[Supervised]:
    """Tokens and loss mask of every row.

    Raises:
        UserError: a row cannot be trained; the message names the first few rows and counts each reason.
    """
    results = supervisor.encode_rows([row.messages for row in rows], [row.tools for row in rows])
    refused = [(row, error) for row, error in zip(rows, results, strict=True) if isinstance(error, SupervisionError)]
    if refused:
        raise _refusal(refused, len(rows), split)
    return [result for result in results if isinstance(result, Supervised)]


def _refusal(refused: Sequence[tuple[SplitRow, SupervisionError]], total: int, split: str) -> UserError:
    reasons = Counter(error.reason for _, error in refused)
    counts = ", ".join(f"{reason} {count}" for reason, count in reasons.most_common())
    error = UserError(
        f"{len(refused)} of {total} rows of the {split} split cannot be trained",
        found=counts,
        expected="rows in which at least one assistant token carries loss",
        help="`assay audit` shows the rows; repair or drop them, and run `assay curate` again",
    )
    details = [
        Problem(problem.what, where=row.place, found=problem.found, expected=problem.expected, help=problem.help)
        for row, error in refused[:SHOWN_PROBLEMS]
        for problem in error.problems
    ]
    error.problems = (*error.problems, *details)
    return error
