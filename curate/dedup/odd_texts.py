"""Texts with bytes that prose has not, in one pass over their bytes. Importing this module imports numba."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from curate.dedup.compiled import compiled, compiled_inner
from curate.dedup.memory import load_byte
from curate.dedup.spans import string_spans

if TYPE_CHECKING:
    from collections.abc import Iterable


@compiled_inner
def has_control(address, length):  # type: ignore[no-untyped-def]
    """Whether a text holds a control character of ASCII other than tab, line feed, form feed and carriage return."""
    found = False
    for at in range(length):  # without branches, so that many bytes are looked at together
        byte = load_byte(address, at)
        space = (byte == 9) | (byte == 10) | (byte == 12) | (byte == 13)
        found |= ((byte < 32) & (not space)) | (byte == 127)
    return found


@compiled_inner
def has_run(address, length, members, shortest):  # type: ignore[no-untyped-def]
    """Whether `shortest` bytes in a row are all members; so many bytes apart it looks whether it is within a run."""
    for at in range(shortest - 1, length, shortest):
        if members[load_byte(address, at)]:
            first = last = at
            while first > 0 and members[load_byte(address, first - 1)]:
                first -= 1
            while last + 1 < length and members[load_byte(address, last + 1)]:
                last += 1
            if last - first + 1 >= shortest:
                return True
    return False


@compiled
def mark_odd(addresses, lengths, members, shortest, odd):  # type: ignore[no-untyped-def]
    """Which texts have a control character or a run of members.

    Args:
        addresses: uint64 [n], of the first byte of each text.
        lengths: int64 [n], bytes of each text.
        members: bool [256], by byte.
        shortest: bytes of a run.
        odd: bool [n], output.
    """
    for row in range(len(addresses)):
        address, length = addresses[row], lengths[row]
        odd[row] = has_control(address, length) or has_run(address, length, members, shortest)


def odd_texts(text: pl.Series, members: Iterable[int], shortest: int) -> pl.Series:
    """Boolean for each text: whether it has a control character of ASCII, or many of some characters without a break.

    Args:
        text: String Series; nulls are not odd.
        members: code points of the characters, all of them ASCII.
        shortest: characters of a run.
    """
    spans = string_spans(text)
    table = np.zeros(256, dtype=np.bool_)
    table[list(members)] = True
    odd = np.zeros(len(text), dtype=np.bool_)
    mark_odd(spans.addresses, spans.lengths, table, shortest, odd)
    return pl.Series(odd)
