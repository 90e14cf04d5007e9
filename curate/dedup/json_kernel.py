"""One string field of JSON lines, cut out and unescaped 64 bytes at a time. Importing this module imports numba.

The kernel checks what it passes over (RFC 8259: quotes, escapes, control characters, numbers, literals, brackets; RFC
3629: UTF-8) and gives up on anything it is not sure about; it never repairs and never guesses.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.dedup.compiled import compiled, compiled_inner
from curate.dedup.memory import (
    BLOCK,
    copy_block,
    equal_block,
    load_byte,
    load_eight,
    set_bits,
    store_byte,
    string_block,
    trailing_zeros,
)

PADDING = 2 * BLOCK  # zeros behind the lines: they stop every scan
MOST_DEPTH = 60
INLINE = 12  # Arrow keeps texts of up to so many bytes in the view itself

_QUOTE, _BACKSLASH, _COMMA, _COLON, _OPEN, _CLOSE, _OPEN_LIST, _CLOSE_LIST, _NEWLINE = map(ord, '"\\,:{}[]\n')
_HIGH_BITS = np.uint64(0x8080808080808080)
_U0, _U1 = map(np.uint64, (0, 1))
_REPLACES = np.zeros(256, np.uint8)
for _escape, _character in zip('"\\/bfnrt', '"\\/\b\f\n\r\t', strict=True):
    _REPLACES[ord(_escape)] = ord(_character)


@compiled
def count_lines(source, length):  # type: ignore[no-untyped-def]
    """Newlines in some bytes, behind which PADDING zeros follow."""
    lines: Any = 0
    for block in range(0, length, BLOCK):
        lines += np.int64(set_bits(equal_block(source, block, _NEWLINE)))
    return lines


@compiled_inner
def skip_space(source, at):  # type: ignore[no-untyped-def]
    """The next place without a space, tab or carriage return: a newline ends the line."""
    byte = load_byte(source, at)
    while byte == 32 or byte == 9 or byte == 13:
        at += 1
        byte = load_byte(source, at)
    return at


@compiled_inner
def skip_string(source, at):  # type: ignore[no-untyped-def]
    """(place behind a string that begins at a quote, or -1; whether it holds an escape)."""
    if load_byte(source, at) != _QUOTE:
        return -1, False
    at += 1
    escaped = False
    while True:
        stops = string_block(source, at)
        if stops == _U0:
            at += BLOCK
            continue
        at += trailing_zeros(stops)
        byte = load_byte(source, at)
        if byte == _QUOTE:
            return at + 1, escaped
        escaped = True
        if byte != _BACKSLASH:
            return -1, escaped
        second = load_byte(source, at + 1)
        if second == 117:  # u
            code, at = hex_code(source, at + 2)
            if code < 0:
                return -1, escaped
        elif _REPLACES[second]:
            at += 2
        else:
            return -1, escaped


@compiled_inner
def hex_code(source, at):  # type: ignore[no-untyped-def]
    r"""(code point of the digits behind ``\u`` and of a second half that must follow, or -1; place behind them)."""
    code, at = hex_digits(source, at)
    if 0xD800 <= code < 0xE000:
        low = -1
        if code < 0xDC00 and load_byte(source, at) == _BACKSLASH and load_byte(source, at + 1) == 117:
            low, at = hex_digits(source, at + 2)
        code = 0x10000 + (code - 0xD800 << 10) + (low - 0xDC00) if 0xDC00 <= low < 0xE000 else -1
    return code, at


@compiled_inner
def hex_digits(source, at):  # type: ignore[no-untyped-def]
    """(value of four hexadecimal digits, or -1; place behind them)."""
    code: Any = 0
    for step in range(4):
        byte = np.int64(load_byte(source, at + step))
        lower = byte | 32
        digit = byte - 48 if 48 <= byte <= 57 else lower - 87 if 97 <= lower <= 102 else -1
        if digit < 0:
            return -1, at
        code = code << 4 | digit
    return code, at + 4


@compiled_inner
def put_code(target, used, code):  # type: ignore[no-untyped-def]
    """Write a code point as UTF-8; returns the place behind it."""
    if code < 0x80:
        store_byte(target, used, code)
        return used + 1
    size = 2 if code < 0x800 else 3 if code < 0x10000 else 4
    for step in range(size - 1, 0, -1):
        store_byte(target, used + step, 0x80 | (code & 63))
        code >>= 6
    store_byte(target, used, code | (0xF00 >> size & 0xFF))
    return used + size


@compiled_inner
def copy_string(source, at, target, used):  # type: ignore[no-untyped-def]
    """Unescape a string that begins at a quote; returns (place behind it, or -1; end of what was written).

    Up to BLOCK bytes behind the end may be written as well.
    """
    at += 1
    while True:
        stops = string_block(source, at)
        copy_block(source, at, target, used)
        if stops == _U0:
            at += BLOCK
            used += BLOCK
            continue
        ahead = trailing_zeros(stops)
        at += ahead
        used += ahead
        byte = load_byte(source, at)
        if byte == _QUOTE:
            return at + 1, used
        second = load_byte(source, at + 1)
        if byte != _BACKSLASH:
            return -1, used
        if second == 117:
            code, at = hex_code(source, at + 2)
            if code < 0:
                return -1, used
            used = put_code(target, used, code)
        elif _REPLACES[second]:
            store_byte(target, used, np.int64(_REPLACES[second]))
            used += 1
            at += 2
        else:
            return -1, used


@compiled_inner
def skip_digits(source, at):  # type: ignore[no-untyped-def]
    """The place behind one or more digits, or -1."""
    first = at
    while 48 <= load_byte(source, at) <= 57:
        at += 1
    return at if at > first else -1


@compiled_inner
def skip_scalar(source, at):  # type: ignore[no-untyped-def]
    """The place behind a number or literal, or -1."""
    four = load_eight(source, at) & np.uint64(0xFFFFFFFF)
    if four == np.uint64(0x65757274) or four == np.uint64(0x6C6C756E):  # true, null
        return at + 4
    if four == np.uint64(0x736C6166) and load_byte(source, at + 4) == 101:  # false
        return at + 5
    at += load_byte(source, at) == 45
    at = at + 1 if load_byte(source, at) == 48 else skip_digits(source, at)
    if at >= 0 and load_byte(source, at) == 46:
        at = skip_digits(source, at + 1)
    if at >= 0 and load_byte(source, at) | 32 == 101:
        sign = load_byte(source, at + 1)
        at = skip_digits(source, at + 1 + (sign == 43 or sign == 45))
    return at


@compiled_inner
def skip_key(source, at):  # type: ignore[no-untyped-def]
    """The place of the value behind a key and its colon, or -1."""
    at, _ = skip_string(source, skip_space(source, at))
    if at < 0:
        return -1
    at = skip_space(source, at)
    return skip_space(source, at + 1) if load_byte(source, at) == _COLON else -1


@compiled_inner
def skip_value(source, at):  # type: ignore[no-untyped-def]
    """The place behind any value, or -1. Bit n of `objects` says whether the bracket at depth n is a brace."""
    depth = 0
    objects = _U0
    while at >= 0:
        byte = load_byte(source, at)
        if byte == _OPEN or byte == _OPEN_LIST:
            if depth == MOST_DEPTH:
                return -1
            depth += 1
            objects = objects << _U1 | np.uint64(byte == _OPEN)
            inner = skip_space(source, at + 1)
            if load_byte(source, inner) != byte + 2:  # each closing bracket is two behind its opening one
                at = skip_key(source, inner) if byte == _OPEN else inner
                continue
            at = inner
        else:
            at = skip_string(source, at)[0] if byte == _QUOTE else skip_scalar(source, at)
            if depth == 0 or at < 0:
                return at
            at = skip_space(source, at)
        while load_byte(source, at) == (_CLOSE if objects & _U1 else _CLOSE_LIST):
            at += 1
            depth -= 1
            objects >>= _U1
            if depth == 0:
                return at
            at = skip_space(source, at)
        if load_byte(source, at) != _COMMA:
            return -1
        at = skip_key(source, at + 1) if objects & _U1 else skip_space(source, at + 1)
    return -1


@compiled_inner
def is_utf8(source, at, end):  # type: ignore[no-untyped-def]
    """Whether some bytes are well-formed UTF-8."""
    while at < end:
        if at + 8 <= end and load_eight(source, at) & _HIGH_BITS == _U0:
            at += 8
            continue
        first = load_byte(source, at)
        if first < 0x80:
            at += 1
            continue
        if first < 0xC2 or first > 0xF4:
            return False
        more = 1 if first < 0xE0 else 2 if first < 0xF0 else 3
        second = load_byte(source, at + 1)
        least = 0xA0 if first == 0xE0 else 0x90 if first == 0xF0 else 0x80
        most = 0x9F if first == 0xED else 0x8F if first == 0xF4 else 0xBF
        if second < least or second > most:
            return False
        for step in range(2, more + 1):
            if load_byte(source, at + step) & 0xC0 != 0x80:
                return False
        at += more + 1
    return True


@compiled_inner
def line_field(source, at, name, target, used):  # type: ignore[no-untyped-def]
    """Read one line: (place of its newline, or -1; end of what was written, -1 where the field is null or absent)."""
    end = np.int64(-1)
    found = False
    at = skip_space(source, at)
    if load_byte(source, at) != _OPEN:
        return -1, end
    at = skip_space(source, at + 1)
    if load_byte(source, at) == _CLOSE:
        return skip_space(source, at + 1), end
    while True:
        start = at + 1
        at, escaped = skip_string(source, at)
        if at < 0 or escaped:
            return -1, end
        wanted = at - 1 - start == len(name)
        if wanted:
            for index in range(len(name)):
                wanted = wanted and load_byte(source, start + index) == name[index]
        at = skip_space(source, at)
        if load_byte(source, at) != _COLON or (wanted and found):
            return -1, end
        at = skip_space(source, at + 1)
        if wanted and load_byte(source, at) == _QUOTE:
            at, end = copy_string(source, at, target, used)
        elif wanted and load_byte(source, at) != 110:  # neither text nor null
            return -1, end
        else:
            at = skip_value(source, at)
        if at < 0:
            return -1, end
        found = found or wanted
        at = skip_space(source, at)
        byte = load_byte(source, at)
        if byte == _CLOSE:
            return skip_space(source, at + 1), end
        if byte != _COMMA:
            return -1, end
        at = skip_space(source, at + 1)


@compiled
def read_lines(source, length, name, place, views, missing):  # type: ignore[no-untyped-def]
    """Cut one field out of whole lines.

    Args:
        source: address of the lines; PADDING zeros follow.
        length: their bytes, each line with its newline.
        name: uint8, the field, in UTF-8.
        place: (address of the Arrow buffer to write to, where to begin in it, its number); as many bytes as the lines
            have, and BLOCK more, may be written.
        views: uint32 [lines, 4], output: Arrow string views.
        missing: bool [lines], output: where the field is null or absent.

    Returns:
        Whether all lines are plain: valid JSON objects, one a line, with at most one such field, a string or null.
    """
    target, used, number = place
    at = np.int64(0)
    for row in range(len(views)):
        start = at
        at, end = line_field(source, at, name, target, used)
        if at < 0 or load_byte(source, at) != _NEWLINE or not is_utf8(source, start, at):
            return False
        at += 1
        missing[row] = end < 0
        size = 0 if end < 0 else end - used
        views[row, 0] = size
        if size > INLINE:
            views[row, 1] = np.uint32(load_eight(target, used) & np.uint64(0xFFFFFFFF))
            views[row, 2] = number
            views[row, 3] = used
            used = end
        else:
            for word in range(3):
                value = np.uint32(0)
                for step in range(max(0, min(4, size - 4 * word))):
                    value |= np.uint32(load_byte(target, used + 4 * word + step)) << np.uint32(8 * step)
                views[row, 1 + word] = value
    return at == length
