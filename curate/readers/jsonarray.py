"""JSON arrays of records, element by element, so that each record has its line and a broken one costs only itself."""

from __future__ import annotations

import re

import orjson

from curate.readers.builder import Builder, loads
from curate.readers.jsonlines import BYTE_ORDER_MARK, repeated_keys, why_broken
from curate.spill import Bytes

# Everything up to the next bracket that stands outside a string; possessive, so that hostile input costs one pass.
TO_BRACKET = re.compile(rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+([\[\]{}])', re.DOTALL)
TO_SEPARATOR = re.compile(rb'(?:[^",\]]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
FIRST_KEY = re.compile(rb'\{\s*"[^"\\]{1,80}"')
SPACE = b" \t\r\n"


def read_array(data: Bytes, builder: Builder) -> None:
    """Add every element of a file that holds one JSON array; a file that holds one object is one record.

    Where the array is damaged, the damaged element becomes a broken row and reading goes on at the next one; what is
    left at the end of a file that was cut off becomes a broken row too.
    """
    position = len(BYTE_ORDER_MARK) if data[: len(BYTE_ORDER_MARK)] == BYTE_ORDER_MARK else 0
    if position:
        builder.fault("byte-order-mark", 1, "the bytes EF BB BF before the array", "plain UTF-8 without a mark")
    position = _skip_space(data, position)
    lines = _Lines(data)
    if data[position : position + 1] != b"[":
        stop = _trim(data, position, len(data))
        if stop > position:
            _element(data, position, stop, lines, builder)
        return
    position = _skip_space(data, position + 1)
    damaged = False
    while position < len(data) and data[position : position + 1] != b"]":
        # Once an element did not close, none is searched beyond the next record: hostile files cost one pass as well.
        limit = next_record(data, position, len(data)) if damaged else len(data)
        end = element_end(data, position, limit)
        damaged = damaged or end == len(data)
        stop = _element(data, position, end, lines, builder)
        if stop == position and data[position : position + 1] != b",":
            # Nothing here begins a value: what is left of the file is one broken row.
            rest = _trim(data, position, len(data))
            builder.broken(lines.at(position), position, rest, ("broken-line", None, "no JSON value", "an object"))
            stop = len(data)
        position = _skip_space(data, stop)
        if data[position : position + 1] == b",":
            position = _skip_space(data, position + 1)
    if position >= len(data):
        builder.fault("broken-line", lines.at(len(data)), "the file ends before the array's closing bracket", "`]`")
    elif behind := data[position + 1 :].strip():
        builder.fault("broken-line", lines.at(position), f"{len(behind):,} bytes after the array's end", "nothing more")


def element_end(data: Bytes, start: int, limit: int) -> int:
    """Where the array element that begins at `start` ends, by its brackets; brackets inside strings do not count.

    An element whose brackets or quotes do not close before `limit` ends there.
    """
    if data[start : start + 1] not in (b"{", b"["):
        separator = TO_SEPARATOR.match(data, start, limit)
        return _trim(data, start, separator.end() if separator else limit)
    depth, position = 0, start
    while token := TO_BRACKET.match(data, position, limit):
        position = token.end()
        depth += 1 if token[1] in b"{[" else -1
        if depth == 0:
            return position
    return limit


def next_record(data: Bytes, start: int, stop: int) -> int:
    """Where the record after a damaged one begins: the next object with the same first key, or `stop`."""
    first = FIRST_KEY.match(data, start)
    if not first:
        return stop
    key = first[0].removeprefix(b"{").strip()
    following = re.compile(rb",\s*(\{\s*" + re.escape(key) + rb")").search(data, start + 1)
    return min(stop, following.start(1)) if following else stop


def _element(data: Bytes, start: int, stop: int, lines: _Lines, builder: Builder) -> int:
    """Add one element; gives where reading goes on."""
    raw = data[start:stop]
    line = lines.at(start)
    if not raw:
        if data[start : start + 1] == b",":
            builder.broken(line, start, stop, ("broken-line", None, "an empty element", "a JSON object"))
        return stop
    try:
        record = loads(raw)
    except orjson.JSONDecodeError as error:
        # A quote too many makes the brackets lie: the damage ends where the next record begins, if that comes first.
        goes_on = next_record(data, start, stop)
        builder.broken(line, start, _trim(data, start, goes_on), why_broken(raw[: goes_on - start], error))
        return goes_on
    builder.add(record, line, start, stop, repeated_keys(raw, record))
    return stop


class _Lines:
    """1-based line of growing byte positions."""

    def __init__(self, data: Bytes) -> None:
        self.data, self.position, self.line = data, 0, 1

    def at(self, position: int) -> int:
        self.line += self.data[self.position : position].count(b"\n")
        self.position = position
        return self.line


def _skip_space(data: Bytes, position: int) -> int:
    while data[position : position + 1] in (b" ", b"\t", b"\r", b"\n"):
        position += 1
    return position


def _trim(data: Bytes, start: int, stop: int) -> int:
    return start + len(data[start:stop].rstrip(SPACE + b","))
