"""Arrow tables: the file format (also called Feather) and the stream format, which Hugging Face `datasets` writes.

A stream that was cut off gives every batch that is whole.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from curate.readers.builder import Builder
from curate.readers.detect import ARROW_FILE, ARROW_STREAM
from curate.readers.tables import add_frame, unreadable_table

END_OF_STREAM = ARROW_STREAM + b"\x00\x00\x00\x00"
BODY_LENGTH_FIELD = 3
"""Position of `bodyLength` among the fields of `Message` in Arrow's format/Message.fbs."""


def read_arrow(data: bytes, builder: Builder, path: Path) -> bytes:
    """Add the rows of an Arrow file or stream; gives the buffer that the rows' spans refer to.

    Raises:
        UserError: it holds no whole batch.
    """
    try:
        if data[: len(ARROW_FILE)] == ARROW_FILE:
            return add_frame(pl.read_ipc(io.BytesIO(data)), builder)
        whole, damage = whole_messages(data)
        buffer = add_frame(pl.read_ipc_stream(io.BytesIO(whole)), builder)
    except (pl.exceptions.PolarsError, OSError, ValueError, pl.exceptions.PanicException) as error:
        raise unreadable_table("Arrow", path, error) from error
    if damage:
        builder.fault("broken-line", None, damage, "a whole Arrow stream")
    return buffer


def whole_messages(data: bytes) -> tuple[bytes, str]:
    """A stream up to the end of its last whole message, closed, and what is missing; empty if it is whole.

    Source: the Arrow columnar format, "Encapsulated message format" and "IPC streaming format".
    """
    position = 0
    for position, end in _messages(data):
        if end == position:
            return data, ""
    missing = len(data) - position
    if not missing:
        return data, ""  # without its end mark: readers accept that
    return data[:position] + END_OF_STREAM, f"the stream is cut off: {missing:,} bytes belong to no whole batch"


def _messages(data: bytes) -> Iterator[tuple[int, int]]:
    """(where the messages so far end, where the next one ends), the two being equal at the end mark."""
    position = 0
    while True:
        if data[position : position + 8] == END_OF_STREAM:
            yield position, position
            return
        end = _message_end(data, position)
        if end is None or end > len(data):
            yield position, len(data) + 1
            return
        yield position, end
        position = end


def _message_end(data: bytes, start: int) -> int | None:
    """Behind a message's body; null if its head cannot be read."""
    try:
        mark, size = struct.unpack_from("<4si", data, start)
        head = start + 8
        table = head + struct.unpack_from("<I", data, head)[0]
        fields = table - struct.unpack_from("<i", data, table)[0]
        place = 4 + 2 * BODY_LENGTH_FIELD
        # The list of fields is as long as the last one that is not zero: a schema has no body.
        listed = struct.unpack_from("<H", data, fields)[0] > place
        offset = struct.unpack_from("<H", data, fields + place)[0] if listed else 0
        body = struct.unpack_from("<q", data, table + offset)[0] if offset else 0
    except struct.error:
        return None
    if mark != ARROW_STREAM or size <= 0 or body < 0:
        return None
    return int(head + size + body)
