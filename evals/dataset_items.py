"""Items and loss samples from a curated dataset, with the prompts and tokens that training saw."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import polars as pl

from curate.supervision import Supervised, Supervisor
from evals.scoring import LossRow
from evals.tasks import Items, Task
from schemas.errors import UserError
from train.rows import SplitRow, choose_rows, read_split

TRAINED_ROWS = "trained_rows.parquet"
SHOWN_SPLITS = ("train", "validation")
"""Splits that few-shot examples may come from; never the test split, where the judged items are."""


@dataclass(frozen=True)
class AskedRow:
    """A row of the dataset with the prompt and the tokens that the model is to see."""

    row: SplitRow
    prompt: str
    supervised: Supervised
    metadata: dict[str, str] = field(default_factory=dict)
    """Plain values of the row's own metadata, as text; empty for rows that are not asked by a task."""

    @property
    def answer(self) -> str:
        """The last assistant turn."""
        return str(self.row.messages[-1]["content"])

    @property
    def text(self) -> str:
        """The words of the prompt without the system turn, for a classifier."""
        contents = [m.get("content") for m in self.row.messages[:-1] if m.get("role") not in ("system", "developer")]
        return "\n".join(content for content in contents if isinstance(content, str))

    @property
    def document(self) -> dict[str, Any]:
        """What a task's templates can name."""
        systems = [m.get("content") for m in self.row.messages if m.get("role") == "system"]
        return {
            "item_id": self.row.row_id,
            "prompt": self.prompt,
            "system": str(systems[0]) if systems else "",
            "user": str(self.row.messages[-2].get("content") or "") if len(self.row.messages) > 1 else "",
            "answer": self.answer,
            "label": self.row.label or "",
            **({"metadata": self.metadata} if self.metadata else {}),
        }


def asked_rows(supervisor: Supervisor, rows: Sequence[SplitRow]) -> list[AskedRow]:
    """The rows that end in an assistant's text answer which training could learn from; the others ask nothing.

    A plain text has no prompt; of one that was cut into pieces, the first stands for it.
    """
    ending = [row for row in rows if "text" not in row.record and _ends_in_answer(row)]
    encoded = supervisor.encode_rows([row.messages for row in ending], [row.tools for row in ending])
    return [
        AskedRow(row, supervisor.prompt(row.messages[:-1], row.tools), supervised)
        for row, supervised in zip(ending, encoded, strict=True)
        if isinstance(supervised, Supervised)
    ] + [AskedRow(row, "", supervisor.encode_text(row.record["text"])[0]) for row in rows if "text" in row.record]


def _ends_in_answer(row: SplitRow) -> bool:
    if row.record.get("label") is False:
        return False  # an answer that is marked as bad is not one to be given
    last = row.messages[-1] if row.messages else {}
    return last.get("role") == "assistant" and isinstance(last.get("content"), str) and bool(last["content"].strip())


def split_rows(
    dataset: Path, split: str, supervisor: Supervisor, limit: int | None, seed: int, fields: Sequence[str] = ()
) -> list[AskedRow]:
    """A seeded, stratified sample of a split, the same for every model and every order of rows.

    Args:
        dataset: the stage folder of the curated dataset.
        split: its name.
        supervisor: of the base model.
        limit: most rows; null takes all.
        seed: of the sample.
        fields: that count as metadata where they stand beside a row's content.
    """
    known = _metadata(dataset / "data" / f"{split}.parquet", fields)
    usable = {
        asked.row.row_id: replace(asked, metadata=known.get(asked.row.row_id, {}))
        for asked in asked_rows(supervisor, read_split(dataset, split))
    }
    return [usable[row.row_id] for row in choose_rows([asked.row for asked in usable.values()], limit, seed)]


def _metadata(table: Path, fields: Sequence[str] = ()) -> dict[str, dict[str, str]]:
    """Row id -> metadata of the row as it was read; empty where the dataset does not keep records."""
    if not table.is_file() or not {"row_id", "record"} <= pl.read_parquet_schema(table).keys():
        return {}
    found = {}
    for name, text in pl.read_parquet(table, columns=["row_id", "record"]).iter_rows():
        record = json.loads(text) if text else None
        record = record if isinstance(record, dict) else {}
        given = record.get("metadata")
        beside = {field: record[field] for field in fields if field in record}
        given = (given if isinstance(given, dict) else {}) | beside
        found[name] = {key: str(value) for key, value in given.items() if isinstance(value, str | int | float)}
    return found


def read_trained(dataset: Path, adapter: Path) -> list[SplitRow]:
    """The rows that the adapter was trained on, in the dataset's order; the whole train split where it does not say.

    Args:
        dataset: the stage folder of the curated dataset.
        adapter: the stage folder of training.
    """
    rows, path = read_split(dataset, "train"), adapter / TRAINED_ROWS
    if not path.is_file():
        return rows
    names = set(pl.read_parquet(path, columns=["row_id"])["row_id"])
    return [row for row in rows if row.row_id in names]


def sampled(rows: Sequence[AskedRow], limit: int | None, seed: int) -> list[AskedRow]:
    """A seeded, stratified sample of rows."""
    by_id = {asked.row.row_id: asked for asked in rows}
    return [by_id[row.row_id] for row in choose_rows([asked.row for asked in rows], limit, seed)]


def loss_rows(split: str, rows: Sequence[AskedRow]) -> list[LossRow]:
    """Rows whose supervised loss is measured."""
    return [LossRow(split, asked.row.row_id, asked.row.component, asked.supervised) for asked in rows]


def shown_split(task: Task) -> str:
    """The split of the dataset that a task over another one draws few-shot examples from; empty without examples.

    Raises:
        UserError: it is the split that is judged, or the test split, or none is named.
    """
    if task.split is None or not task.config.get("num_fewshot"):
        return ""
    given = task.config.get("fewshot_config")
    inner = given if isinstance(given, dict) else {}
    split = str(task.config.get("fewshot_split") or inner.get("split") or "")
    allowed = [name for name in SHOWN_SPLITS if name != task.split]
    if "samples" in inner or split not in allowed:
        raise UserError(
            "few-shot examples of a task over the curated dataset must come from a split that it does not judge",
            where=str(task.path),
            found="fewshot_config.samples" if split in allowed else f"fewshot_split {split!r}",
            expected=" or ".join(f"fewshot_split: {name}" for name in allowed),
        )
    return split


def dataset_items(task: Task, rows: Sequence[AskedRow], dataset: Path, shown: Sequence[AskedRow] = ()) -> Items:
    """Items of a task over a split of the dataset.

    Args:
        task: as written.
        rows: of the split that it asks.
        dataset: the stage folder of the curated dataset.
        shown: rows that few-shot examples are drawn from.

    Raises:
        UserError: no row of the split can be asked.
    """
    if not rows:
        raise UserError(
            "the task has no items",
            where=str(task.path),
            found=f"no row of the split {task.split!r} ends in an answer",
            expected="rows whose last turn is the assistant's",
            help=f"look at {dataset / 'data' / f'{task.split}.parquet'}",
        )
    needed, split = int(task.config.get("num_fewshot") or 0), shown_split(task)
    if split and len(shown) < needed:
        raise UserError(
            "there are too few rows for few-shot examples",
            where=str(task.path),
            found=f"{len(shown)} rows of the split {split!r} end in an answer and ask something else than the items do",
            expected=f"at least num_fewshot: {needed}",
        )
    return Items(
        [asked.document for asked in rows],
        [asked.row.row_id for asked in rows],
        [asked.row.component for asked in rows],
        {split: [asked.document for asked in shown]} if split else {},
    )
