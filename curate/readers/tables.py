"""Tables: one record a row; the row keeps it as JSON, since a table has no lines of JSON."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from curate.readers.builder import Builder, loads
from schemas.errors import UserError

JSON_COLUMNS = ("messages", "conversations", "conversation", "chosen", "rejected", "tools", "metadata")


class Buffer:
    """Bytes of the records, one behind the other."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.size = 0

    def add(self, piece: bytes) -> tuple[int, int]:
        """Put a record behind the others; gives its span."""
        start = self.size
        self.pieces.append(piece)
        self.size += len(piece)
        return start, self.size


def parsed(name: str, value: str) -> Any:
    """Columns that hold lists or objects carry them as JSON text."""
    if name in JSON_COLUMNS and value[:1] in ("[", "{"):
        try:
            return loads(value)
        except orjson.JSONDecodeError:
            return value
    return value


def read_parquet(data: bytes, builder: Builder, path: Path) -> bytes:
    """Add the rows of a Parquet file; gives the buffer that the rows' spans refer to.

    Raises:
        UserError: it is not a whole Parquet file.
    """
    try:
        frame = pl.read_parquet(io.BytesIO(data))
    except (pl.exceptions.PolarsError, OSError, pl.exceptions.PanicException) as error:
        raise unreadable_table("Parquet", path, error) from error
    return add_frame(frame, builder)


def unreadable_table(format: str, path: Path, error: BaseException) -> UserError:
    """The error of a table of which nothing can be read."""
    return UserError(
        f"the {format} file cannot be read",
        where=str(path),
        found=(str(error).splitlines() or [""])[0],
        help="it is damaged or was cut off: write or fetch it again",
    )


def add_frame(frame: pl.DataFrame, builder: Builder) -> bytes:
    """Add the rows of a table with types; gives the buffer that their spans refer to."""
    buffer = Buffer()
    for values in frame.iter_rows(named=True):
        record = {name: _without_nulls(value) for name, value in values.items() if value is not None}
        record = {name: parsed(name, value) if isinstance(value, str) else value for name, value in record.items()}
        add_value(record, buffer, builder)
    return b"".join(buffer.pieces)


def add_value(record: dict[str, Any], buffer: Buffer, builder: Builder) -> None:
    """Add a row of a table as the JSON that it makes: dates and the like become the text that any export would hold."""
    try:
        raw = orjson.dumps(record, default=_as_json)
        builder.add(loads(raw), None, *buffer.add(raw))
    except (orjson.JSONEncodeError, orjson.JSONDecodeError) as error:
        found = f"the row cannot be written as JSON: {error}"
        builder.broken(
            None, *buffer.add(repr(record).encode("utf-8", "backslashreplace")), ("broken-line", None, found, "JSON")
        )


def _as_json(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode("utf-8", "backslashreplace")
    return str(value)


def _without_nulls(value: Any) -> Any:
    """Structs of a column share their fields: those a message does not have come back as nulls."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
