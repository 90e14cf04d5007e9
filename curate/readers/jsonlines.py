"""JSONL: every physical line becomes a row, or a fault that says why it is none."""

from __future__ import annotations

import io
import mmap

import orjson

from curate.readers.builder import Builder, loads
from curate.readers.repair import Repair
from curate.spill import Bytes


def read_lines(data: Bytes, builder: Builder) -> None:
    """Add every line of a file to the builder; lines are separated by a line feed, blank ones are noted.

    A line that is no record by itself may still be several, or the beginning of one: `curate.readers.repair` looks.
    """
    lines = data if isinstance(data, mmap.mmap) else io.BytesIO(data)
    lines.seek(0)
    start, line = 0, 0
    repair: Repair | None = None
    while raw := lines.readline():
        line += 1
        raw = raw.removesuffix(b"\n")
        stop = start + len(raw)
        try:
            record = loads(raw)
        except orjson.JSONDecodeError as error:
            if not raw.strip():
                builder.fault("blank-line", line, "a line without content")
            else:
                repair = repair or Repair(data, builder)
                stop, line = repair.line(start, stop, line, error)
                lines.seek(min(stop + 1, len(data)))
        else:
            builder.add(record, line, start, stop, raw=raw)
        start = stop + 1
