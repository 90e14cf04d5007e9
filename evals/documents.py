"""Items of a task as they lie in files: JSON Lines, JSON, CSV, Parquet."""

from __future__ import annotations

import json
from datetime import date, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import polars as pl

from schemas.errors import UserError

Document = dict[str, Any]


def read_documents(path: Path) -> list[Document]:
    """Records of a JSON Lines, JSON, CSV or Parquet file.

    Raises:
        UserError: the file cannot be read, or holds something other than records.
    """
    try:
        if path.suffix in (".jsonl", ".ndjson"):
            lines = path.read_text("utf-8").split("\n")
            found: Any = [json.loads(line, parse_constant=_no_constant) for line in lines if line.strip()]
        elif path.suffix == ".json":
            found = json.loads(path.read_text("utf-8"), parse_constant=_no_constant)
        else:
            table = pl.read_csv(path) if path.suffix == ".csv" else pl.read_parquet(path)
            found = plain_documents(table.to_dicts(), path)
    except (OSError, ValueError, RecursionError, pl.exceptions.PolarsError) as error:
        raise UserError("the items of a task cannot be read", where=str(path), found=str(error)[:300]) from error
    if not isinstance(found, list) or not all(isinstance(record, dict) for record in found):
        raise UserError("the items of a task are not records", where=str(path), expected="one JSON object an item")
    return found


def plain_documents(documents: list[Document], where: Path) -> list[Document]:
    """Documents as JSON has them; dates and decimals are text.

    Raises:
        UserError: there is something else in them, such as an image.
    """
    try:
        found = json.loads(json.dumps(documents, default=_as_text), parse_constant=_no_constant)
    except (TypeError, ValueError) as error:
        raise UserError("the items of a task cannot be read", where=str(where), found=str(error)[:300]) from error
    return cast(list[Document], found)


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a number that a task can ask or expect")


def _as_text(value: Any) -> str:
    if isinstance(value, date | time | timedelta | Decimal):
        return str(value)
    raise ValueError(f"a {type(value).__name__} is nothing that a task can ask")
