"""JSONL: every physical line becomes a row, or a fault that says why it is none."""

from __future__ import annotations

import orjson

from curate.readers.builder import Builder, loads
from curate.readers.faults import repeated_keys
from curate.readers.repair import Repair
from curate.spill import Bytes


def read_lines(data: Bytes, builder: Builder) -> None:
    """Add every line of a file to the builder; lines are separated by a line feed, blank ones are noted.

    A line that is no record by itself may still be several, or the beginning of one: `curate.readers.repair` looks.
    """
    size, start, line = len(data), 0, 0
    add, find = builder.add, data.find
    repair: Repair | None = None
    while start < size:
        line += 1
        end = find(b"\n", start)
        stop = size if end < 0 else end
        raw = data[start:stop]
        try:
            record = loads(raw)
        except orjson.JSONDecodeError as error:
            if not raw.strip():
                builder.fault("blank-line", line, "a line without content")
            else:
                repair = repair or Repair(data, builder)
                stop, line = repair.line(start, stop, line, error)
        else:
            add(record, line, start, stop, repeated_keys(raw, record))
        start = stop + 1
