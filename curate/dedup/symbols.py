"""What stands between words and is no mere punctuation: operators, signs, decimal points, HTML references.

Importing this module imports numba.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.dedup.compiled import compiled_inner
from curate.dedup.memory import load_byte

_PRIME = np.uint64(0x9E3779B97F4A7C15)


@compiled_inner
def is_reference(address, start, stop, length, named):  # type: ignore[no-untyped-def]
    """Whether a word is how HTML writes a character: ``&amp;`` or ``&#39;``."""
    if start == 0 or stop == length or load_byte(address, stop) != 59:
        return False
    back = load_byte(address, start - 1)
    if named:
        return back == 38
    return back == 35 and start > 1 and load_byte(address, start - 2) == 38


@compiled_inner
def operators(address, start, stop):  # type: ignore[no-untyped-def]
    """15 bits that tell the operators between two words of one line apart, 0 for none; bit 15 for a sign or denial.

    Marks of text are none: bullets and quotes at the beginning of a line, emphasis, dashes and arrows of any length.
    """
    value = strong = before = last = np.int64(0)
    skipped: Any = np.int64(0)
    for at in range(start, stop):
        byte: Any = np.int64(load_byte(address, at))
        if skipped > 0:
            skipped = 0 if byte == 59 else skipped
            continue
        if byte == 38 and at + 1 < stop:
            second = np.int64(load_byte(address, at + 1))
            if second == 35 or second >= 97:  # a reference: only those of < and > stand for an operator
                skipped = 1
                byte = 60 if second == 108 else 62 if second == 103 else 38 if second == 97 else 32
        if byte == 10 or byte == 13:
            return np.int64(0)
        counted = byte == 37 or byte == 38 or byte == 43 or byte == 45 or byte == 47
        counted = counted or (60 <= byte <= 62) or byte == 94 or byte == 124 or byte == 126
        if byte == 33:  # otherwise it ends a sentence
            counted = at + 1 == stop or load_byte(address, at + 1) == 61
        elif byte == 42 and before != 42:
            end = at
            while end < stop and load_byte(address, end) == 42:
                end += 1
            counted = (at == start) == (end == stop)  # otherwise it is emphasis
        if counted and not (byte == last and (byte == 45 or byte == 62)):
            value = (value * 31 + byte) & 0x7FFF
            last = byte
            opened = before == 40 or before == 44 or before == 58 or before == 61 or before == 91
            strong |= np.int64(at + 1 == stop and (byte == 33 or byte == 126 or (byte == 45 and opened)))
        before = byte
    return value | (strong << 15)


@compiled_inner
def joins_numbers(address, at):  # type: ignore[no-untyped-def]
    """Whether the byte is a point or comma between two digits."""
    byte = load_byte(address, at)
    if byte != 46 and byte != 44:
        return False
    before, after = load_byte(address, at - 1), load_byte(address, at + 1)
    return 48 <= before <= 57 and 48 <= after <= 57


@compiled_inner
def signed(address, start, value):  # type: ignore[no-untyped-def]
    """Mix an operator before a number into its hash, so that ``3 + 5`` and ``3 - 5`` differ by a number."""
    back = start - 1
    while back >= 0:
        byte = load_byte(address, back)
        if byte != 32 and (byte < 9 or byte > 13):
            if byte == 59 and back > 2 and load_byte(address, back - 1) == 116 and load_byte(address, back - 3) == 38:
                byte = 60 if load_byte(address, back - 2) == 108 else 62  # &lt; or &gt;
            if byte == 43 or byte == 45 or byte == 47 or byte == 60 or byte == 62 or byte == 94 or byte == 36:
                value = (value ^ np.uint64(byte)) * _PRIME
            break
        back -= 1
    return value
