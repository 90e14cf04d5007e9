"""JSONL: every physical line becomes a row, or a fault that says why it is none."""

from __future__ import annotations

import json
from typing import Any

import orjson

from curate.readers.builder import MAX_DEPTH, Builder, loads
from curate.readers.shapes import Fault
from curate.spill import Bytes

BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_lines(data: Bytes, builder: Builder) -> None:
    """Add every line of a file to the builder; lines are separated by a line feed, blank ones are noted."""
    size, start, line = len(data), 0, 0
    add, find = builder.add, data.find
    while start < size:
        line += 1
        end = find(b"\n", start)
        stop = size if end < 0 else end
        raw = data[start:stop]
        try:
            record = loads(raw)
        except orjson.JSONDecodeError as error:
            _unusual_line(raw, line, start, stop, builder, error)
        else:
            add(record, line, start, stop, repeated_keys(raw, record))
        start = stop + 1


def _unusual_line(
    raw: bytes, line: int, start: int, stop: int, builder: Builder, error: orjson.JSONDecodeError
) -> None:
    if not raw.strip():
        builder.fault("blank-line", line, "a line without content")
        return
    if raw.startswith(BYTE_ORDER_MARK):
        bare = raw.removeprefix(BYTE_ORDER_MARK)
        mark: Fault = ("byte-order-mark", None, "the bytes EF BB BF before the record", "plain UTF-8 without a mark")
        try:
            record = loads(bare)
        except orjson.JSONDecodeError as inner:
            builder.broken(line, start, stop, why_broken(bare, inner))
        else:
            builder.add(record, line, start, stop, [mark, *repeated_keys(bare, record)])
        return
    builder.broken(line, start, stop, why_broken(raw, error))


def why_broken(raw: bytes, error: orjson.JSONDecodeError) -> Fault:
    """The fault of a line that is not JSON: what stands where the parser stopped, and what JSON asks for."""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as wrong:
        found = f"byte {raw[wrong.start]:#04x} at byte {wrong.start + 1} is not UTF-8"
        return ("broken-line", None, found, "UTF-8 text")
    column = error.pos + 1
    near = text[error.pos : error.pos + 1]  # one character: a piece of a value could be shown without being recognised
    if "\x00" in text:
        return ("broken-line", None, f"NUL byte at character {text.index(chr(0)) + 1}", "JSON, which escapes NUL")
    if "depth limit" in error.msg:
        return ("broken-line", None, f"nested more than {MAX_DEPTH} levels deep", f"at most {MAX_DEPTH} levels")
    if "surrogate" in error.msg:
        return ("broken-line", None, f"half a surrogate pair at character {column}", "whole Unicode characters")
    if text.startswith(("NaN", "Infinity", "-Infinity"), error.pos) or "infinity" in error.msg:
        return ("broken-line", None, f"NaN or an infinity at character {column}", "a finite number or null")
    if error.msg.startswith("unexpected end"):
        return ("broken-line", None, f"the record ends at character {len(text)}, inside a value", "a whole JSON object")
    return ("broken-line", None, f"{error.msg} at character {column}: {near!r}", "one JSON object on the line")


def repeated_keys(raw: bytes, record: Any) -> list[Fault]:
    """A fault if an object of the record names a key twice; parsers disagree on which value counts.

    Comparing the number of `":` in the line with that of the parsed record finds the rare candidates without looking at
    the keys; only those are parsed again.
    """
    if raw.count(b'":') == orjson.dumps(record).count(b'":') and b'" :' not in raw:
        return []
    repeated: dict[str, None] = {}

    def collect(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) < len(pairs):
            keys = [key for key, _ in pairs]
            repeated.update(dict.fromkeys(key for key in found if keys.count(key) > 1))
        return found

    json.loads(raw, object_pairs_hook=collect, parse_int=len)  # a number of thousands of digits is no key
    if not repeated:
        return []
    return [("duplicate-key", None, ", ".join(f"`{key[:80]}`" for key in list(repeated)[:8]), "every key once")]
