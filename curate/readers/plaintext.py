"""Plain text: one record a paragraph, which ends at an empty line."""

from __future__ import annotations

import orjson

from curate.readers.builder import Builder
from curate.readers.faults import byte_order_mark
from curate.readers.repair import BYTE_ORDER_MARK
from curate.readers.tables import Buffer


def read_text(data: bytes, builder: Builder) -> bytes:
    """Add each paragraph as a record with `text`; gives the buffer that the rows' spans refer to.

    `line` is the line on which a paragraph begins. One with bytes that are not UTF-8 is a broken row.

    Args:
        data: the file.
        builder: takes the rows.
    """
    buffer = Buffer()
    if data[:3] == BYTE_ORDER_MARK:
        rule, _, found, expected = byte_order_mark("line")
        builder.fault(rule, 1, found, expected)
        data = data[3:]
    first, lines = 0, list[bytes]()
    for number, line in enumerate([*data.split(b"\n"), b""], start=1):
        if line.strip():
            first = first or number
            lines.append(line.rstrip(b"\r"))
        elif lines:
            _add(b"\n".join(lines), first, buffer, builder)
            first, lines = 0, []
    return b"".join(buffer.pieces)


def _add(paragraph: bytes, line: int, buffer: Buffer, builder: Builder) -> None:
    try:
        record = {"text": paragraph.decode("utf-8")}
    except UnicodeDecodeError:
        fault = ("broken-line", None, "bytes that are not UTF-8", "UTF-8 text")
        builder.broken(line, *buffer.add(paragraph), fault)
        return
    builder.add(record, line, *buffer.add(orjson.dumps(record)))
