"""JSON arrays of records, element by element, so that each record has its line and a broken one costs only itself."""

from __future__ import annotations

import re
from typing import Any

import orjson

from curate.readers.brackets import closing
from curate.readers.builder import Builder, loads
from curate.readers.detect import LIST_KEYS, WRAPPED
from curate.readers.faults import why_broken
from curate.readers.jsonlines import read_lines
from curate.readers.repair import BYTE_ORDER_MARK
from curate.spill import Bytes

TO_SEPARATOR = re.compile(rb'(?:[^",\]]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
TO_MEMBER = re.compile(rb'(?:[^",}]++|"(?:[^"\\]++|\\.)*+")*+', re.DOTALL)
MEMBER = re.compile(rb'\s*+,?\s*+("(?:[^"\\]++|\\.)*+")\s*+:\s*+', re.DOTALL)
FIRST_KEY = re.compile(rb'\{\s*"[^"\\]{1,80}"')
SPACE = b" \t\r\n"
SEARCH_SHARE = 4
"""Searches for a next record may look at this many times the file."""


def read_json(data: Bytes, builder: Builder) -> str:
    """Add every record of a file that holds one JSON value; gives where in it they were, for people.

    An array holds records. An object is a record itself, or holds lists of records under keys such as `data` or `rows`.
    Where an array is damaged, the damaged element becomes a broken row and reading goes on at the next one; what is
    left at the end of a file that was cut off becomes a broken row too. A file that holds one object after the other is
    read as lines.
    """
    position = len(BYTE_ORDER_MARK) if data[: len(BYTE_ORDER_MARK)] == BYTE_ORDER_MARK else 0
    start = _skip_space(data, position)
    if data[start : start + 1] != b"[":
        return _read_object(data, start, builder)
    if position:
        builder.fault("byte-order-mark", 1, "the bytes EF BB BF before the array", "plain UTF-8 without a mark")
    scan = Scan(data)
    end = _read_list(data, start, scan, builder)
    if behind := data[end:].strip():
        builder.broken(
            scan.at(end),
            end,
            len(data),
            ("broken-line", None, f"{len(behind):,} bytes after the array", "nothing more"),
        )
    return ""


def _read_object(data: Bytes, start: int, builder: Builder) -> str:
    """Add the lists of records that an object holds, or the object as a record."""
    end = closing(data, start, len(data)) if data[start : start + 1] == b"{" else None
    keys: tuple[str, ...] = ()
    if end is not None and not data[end:].strip():
        try:
            record = loads(data[start:end])
        except orjson.JSONDecodeError:
            keys = LIST_KEYS if WRAPPED.match(data, start) else ()
        else:
            keys = _keys_of_lists(record, builder)
        if not keys:
            _element(data, start, end, Scan(data), builder)
            return ""
    elif WRAPPED.match(data, start):
        keys = LIST_KEYS
    if not keys:
        read_lines(data, builder)
        return ""
    if start and data[:3] == BYTE_ORDER_MARK:
        builder.fault("byte-order-mark", 1, "the bytes EF BB BF before the object", "plain UTF-8 without a mark")
    return "under " + ", ".join(f"`{key}`" for key in _read_members(data, start, keys, builder))


def _keys_of_lists(record: Any, builder: Builder) -> tuple[str, ...]:
    """The keys of an object under which records lie; none if it is a record itself."""
    if builder.shape(record) is not None:
        return ()
    lists = {key: value for key, value in record.items() if isinstance(value, list) and isinstance(value[:1], list)}
    first = {key: next((item for item in value if isinstance(item, dict)), None) for key, value in lists.items()}
    return tuple(
        key for key, item in first.items() if item is not None and (key in LIST_KEYS or builder.shape(item) is not None)
    )


def _read_members(data: Bytes, start: int, keys: tuple[str, ...], builder: Builder) -> list[str]:
    """Add the elements of the lists that an object has under these keys; gives the keys that were met."""
    scan, met, position = Scan(data), [], start + 1
    while member := MEMBER.match(data, position):
        value = member.end()
        key = _text_of(member[1])
        if key in keys and data[value : value + 1] == b"[":
            met.append(key)
            position = _read_list(data, value, scan, builder)
        else:
            position = element_end(data, value, len(data), closes=b"}")
    position = _skip_space(data, position)
    if data[position : position + 1] != b"}" or data[position + 1 :].strip():
        rest = _trim(data, position, len(data))
        found = f"{rest - position:,} bytes that belong to no record" if rest > position else "the file ends too early"
        line = scan.at(position)
        if rest > position:
            builder.broken(line, position, rest, ("broken-line", None, found, "the object's end"))
        else:
            builder.fault("broken-line", line, found, "`}`")
    return met


def _text_of(key: bytes) -> str:
    try:
        return str(orjson.loads(key))
    except orjson.JSONDecodeError:
        return ""


def _read_list(data: Bytes, start: int, scan: Scan, builder: Builder) -> int:
    """Add every element of the array that begins at `start`; gives the place behind its closing bracket."""
    position, comma = _skip_space(data, start + 1), -1
    damaged = False
    while position < len(data) and data[position : position + 1] != b"]":
        # Once an element did not close, none is searched beyond the next record: hostile files cost one pass as well.
        limit = scan.next_record(position, len(data)) if damaged else len(data)
        end = element_end(data, position, limit)
        damaged = damaged or end == len(data)
        stop = _element(data, position, end, scan, builder)
        if stop == position and data[position : position + 1] != b",":
            # Nothing here begins a value: what is left of the file is one broken row.
            rest = _trim(data, position, len(data))
            builder.broken(scan.at(position), position, rest, ("broken-line", None, "no JSON value", "an object"))
            stop = len(data)
        position = _skip_space(data, stop)
        if data[position : position + 1] == b",":
            comma, position = position, _skip_space(data, position + 1)
            if data[position : position + 1] == b"]":
                fault = "a comma after the last record"
                builder.fault("misplaced-comma", scan.at(comma), fault, "a bracket right after it")
        elif data[position : position + 1] not in (b"]", b""):
            builder.fault("misplaced-comma", scan.at(position), "no comma between two records", "one comma")
    if position >= len(data):
        builder.fault("broken-line", scan.at(len(data)), "the file ends before the array's closing bracket", "`]`")
    return min(position + 1, len(data))


def element_end(data: Bytes, start: int, limit: int, closes: bytes = b"]") -> int:
    """Where the array element that begins at `start` ends, by its brackets; brackets inside strings do not count.

    An element whose brackets or quotes do not close before `limit` ends there.
    """
    if data[start : start + 1] not in (b"{", b"["):
        separator = (TO_SEPARATOR if closes == b"]" else TO_MEMBER).match(data, start, limit)
        return _trim(data, start, separator.end() if separator else limit)
    end = closing(data, start, limit)
    return limit if end is None else end


def _element(data: Bytes, start: int, stop: int, scan: Scan, builder: Builder) -> int:
    """Add one element; gives where reading goes on."""
    raw = data[start:stop]
    line = scan.at(start)
    if not raw:
        if data[start : start + 1] == b",":
            builder.broken(line, start, stop, ("broken-line", None, "an empty element", "a JSON object"))
        return stop
    try:
        record = loads(raw)
    except orjson.JSONDecodeError as error:
        # A quote too many makes the brackets lie: the damage ends where the next record begins, if that comes first.
        goes_on = scan.next_record(start, stop)
        builder.broken(line, start, _trim(data, start, goes_on), why_broken(raw[: goes_on - start], error))
        return goes_on
    builder.add(record, line, start, stop, raw=raw)
    return stop


class Scan:
    """Where reading is: the line of growing byte positions, and how far searches for a next record may still look."""

    def __init__(self, data: Bytes) -> None:
        self.data, self.position, self.line = data, 0, 1
        self.budget = SEARCH_SHARE * len(data) + (1 << 20)

    def at(self, position: int) -> int:
        """The 1-based line of a position that is not before the last one."""
        self.line += self.data[self.position : position].count(b"\n")
        self.position = position
        return self.line

    def next_record(self, start: int, stop: int) -> int:
        """Where the record after a damaged one begins: the next object with the same first key, or `stop`."""
        first = FIRST_KEY.match(self.data, start)
        if not first or self.budget <= 0:
            return stop
        key = first[0].removeprefix(b"{").strip()
        following = re.compile(rb",\s*+(\{\s*+" + re.escape(key) + rb")").search(self.data, start + 1, stop)
        found = following.start(1) if following else stop
        self.budget -= found - start
        return found


def _skip_space(data: Bytes, position: int) -> int:
    while data[position : position + 1] in (b" ", b"\t", b"\r", b"\n"):
        position += 1
    return position


def _trim(data: Bytes, start: int, stop: int) -> int:
    return start + len(data[start:stop].rstrip(SPACE + b","))
