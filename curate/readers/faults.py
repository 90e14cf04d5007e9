"""What is said of JSON that cannot be read, or that readers take in different ways."""

from __future__ import annotations

import re

import orjson

from curate.readers.builder import MAX_DEPTH
from curate.readers.shapes import Fault

EXCERPT_CHARS = 40
BARE_KEY = re.compile(r"[A-Za-z_$][\w$]{0,80}\s{0,8}:")
NUMBER = "a finite number of up to 1.8e308, or null"
PYTHON_WORD = re.compile(r"(None|True|False|nan|inf)\b")


def byte_order_mark(what: str = "record") -> Fault:
    """The fault of a record, or of a table's header, with a byte order mark before it."""
    return ("byte-order-mark", None, f"the bytes EF BB BF before the {what}", "plain UTF-8 without a mark")


def why_broken(raw: bytes, error: orjson.JSONDecodeError, lines: tuple[int, int] = (0, 0)) -> Fault:
    """The fault of what is not JSON: what stands where the parser stopped, and what JSON asks for.

    Args:
        raw: the line, or the element of an array.
        error: what the parser said.
        lines: first and last line, for a record that is written over several.
    """
    found, expected = _found_and_expected(raw, error)
    return (
        "broken-line",
        None,
        f"{found} (lines {lines[0]:,} to {lines[1]:,})" if lines[1] > lines[0] else found,
        expected,
    )


def _found_and_expected(raw: bytes, error: orjson.JSONDecodeError) -> tuple[str, str]:
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as wrong:
        return f"byte {raw[wrong.start]:#04x} at byte {wrong.start + 1} is not UTF-8", "UTF-8 text"
    column = error.pos + 1
    near = text[error.pos : error.pos + 1]  # one character: a piece of a value could be shown without being recognised
    if "\x00" in text:
        return f"NUL byte at character {text.index(chr(0)) + 1}", "JSON, which escapes NUL"
    if "depth limit" in error.msg:
        return f"nested more than {MAX_DEPTH} levels deep", f"at most {MAX_DEPTH} levels"
    if "surrogate" in error.msg:
        return f"half a surrogate pair at character {column}", "whole Unicode characters"
    named = text.startswith(("NaN", "Infinity", "-Infinity"), error.pos)
    if named or "infinity" in error.msg:
        return f"{'NaN or an infinity' if named else 'a number that is too large'} at character {column}", NUMBER
    if error.msg.startswith("unexpected end"):
        return f"the record ends at character {len(text)}, inside a value", "a whole JSON object"
    if habit := _habit(text, error):
        return f"{habit[0]} at character {column}", habit[1]
    return f"{error.msg} at character {column}: {near!r}", "one JSON object on the line"


def _habit(text: str, error: orjson.JSONDecodeError) -> tuple[str, str] | None:
    """What other languages write and JSON does not know, if that is where the parser stopped, and what JSON writes."""
    rest = text[error.pos : error.pos + 100]
    if "control character" in error.msg:
        return f"an unescaped control character U+{ord(rest[:1] or chr(0)):04X}", r"an escape such as \n or \t"
    if "trailing comma" in error.msg:
        return "a comma before a closing bracket", "no comma after the last value"
    if rest.startswith("'"):
        return "a single quote, as Python prints a dict,", "double quotes, as json.dumps writes them"
    if rest.startswith(("\u201c", "\u201d", "\u2018", "\u2019")):
        return "a typographic quote", "straight double quotes"
    if rest.startswith(("//", "/*", "#")):
        return "a comment", "no comments: JSON has none"
    if word := PYTHON_WORD.match(rest):
        words = {"None": "null", "True": "true", "False": "false"}
        return f"Python's {word[1]}", words.get(word[1], "a finite number or null")
    if BARE_KEY.match(rest):
        return "a key without quotes", "every key in double quotes"
    return None
