"""CSV, TSV and Parquet: one record a table row; the row keeps it as JSON, since a table has no lines of JSON."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import orjson
import polars as pl

from curate.readers.builder import Builder, loads
from schemas.errors import UserError

JSON_COLUMNS = ("messages", "conversations", "conversation", "chosen", "rejected", "tools", "metadata")
MAX_FIELD_CHARS = (1 << 31) - 1


class _Buffer:
    """Bytes of the records, one behind the other."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.size = 0

    def add(self, piece: bytes) -> tuple[int, int]:
        start = self.size
        self.pieces.append(piece)
        self.size += len(piece)
        return start, self.size


def read_delimited(data: bytes, builder: Builder, delimiter: str) -> bytes:
    """Add the rows of a CSV or TSV file with a header line; gives the buffer that the rows' spans refer to.

    `line` is the line on which the row begins; a quoted field may span several.
    """
    text = io.StringIO(data.decode("utf-8-sig", "surrogateescape"), newline="")
    csv.field_size_limit(MAX_FIELD_CHARS)
    reader = csv.reader(text, delimiter=delimiter)
    buffer = _Buffer()
    header: list[str] | None = None
    while True:
        line = reader.line_num + 1
        try:
            fields = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            builder.broken(line, *buffer.add(b""), ("broken-line", None, str(error), "a row of the table"))
            continue
        if not fields:
            builder.fault("blank-line", line, "a line without content")
        elif header is None:
            header = fields
            if len(set(header)) < len(header):
                twice = ", ".join(f"`{name}`" for name in dict.fromkeys(header) if header.count(name) > 1)
                builder.fault("duplicate-key", line, twice, "every column once")
        else:
            _table_row(header, fields, line, buffer, builder)
    return b"".join(buffer.pieces)


def _table_row(header: list[str], fields: list[str], line: int, buffer: _Buffer, builder: Builder) -> None:
    joined = "".join(fields)
    if not joined.isascii() and any("\ud800" <= char <= "\udfff" for char in joined):
        raw = ",".join(fields).encode("utf-8", "surrogateescape")
        builder.broken(line, *buffer.add(raw), ("broken-line", None, "bytes that are not UTF-8", "UTF-8 text"))
    elif len(fields) != len(header):
        fault = ("broken-line", None, _fields(len(fields)), f"{_fields(len(header))}, as in the header")
        builder.broken(line, *buffer.add(orjson.dumps(fields)), fault)
    else:
        record = {name: _parsed(name, field) for name, field in zip(header, fields, strict=True)}
        builder.add(record, line, *buffer.add(orjson.dumps(record)))


def _fields(count: int) -> str:
    return f"{count} field{'s' if count != 1 else ''}"


def _parsed(name: str, value: str) -> Any:
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
        raise UserError(
            "the Parquet file cannot be read",
            where=str(path),
            found=str(error).splitlines()[0],
            help="it is damaged or was cut off: write or fetch it again",
        ) from error
    buffer = _Buffer()
    for values in frame.iter_rows(named=True):
        record = {name: _without_nulls(value) for name, value in values.items() if value is not None}
        record = {name: _parsed(name, value) if isinstance(value, str) else value for name, value in record.items()}
        raw = orjson.dumps(record, default=str)
        # A round trip turns dates and the like into the text that any JSON export would hold.
        builder.add(orjson.loads(raw), None, *buffer.add(raw))
    return b"".join(buffer.pieces)


def _without_nulls(value: Any) -> Any:
    """Structs of a column share their fields: those a message does not have come back as nulls."""
    if isinstance(value, dict):
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
