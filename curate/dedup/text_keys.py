"""128-bit keys of normalised text in one pass over its bytes. Importing this module imports numba."""

from __future__ import annotations

import numpy as np
import polars as pl

from curate.dedup.compiled import compiled, compiled_inner
from curate.dedup.exact import normalise
from curate.dedup.memory import load_byte, load_eight
from curate.dedup.same_text import is_space, next_byte
from curate.dedup.spans import string_spans

_SEEDS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))
_PRIMES = (np.uint64(0xD6E8FEB86659FD93), np.uint64(0xFF51AFD7ED558CCD))
_SHIFTS = (np.uint64(32), np.uint64(29))
_U0, _U1, _U2, _U7, _U8, _U64 = map(np.uint64, (0, 1, 2, 7, 8, 64))
# One byte of a constant stands for each of the eight bytes that are looked at together.
_HIGH, _REST, _ONES, _SPACES = (np.uint64(byte * 0x0101010101010101) for byte in (0x80, 0x7F, 0x01, 0x20))
_FROM_A, _BEYOND_Z = (np.uint64(byte * 0x0101010101010101) for byte in (0x80 - ord("A"), 0x7F - ord("Z")))
_LAST = np.uint64(0x80 << 56)


@compiled_inner
def is_ascii(address, length):  # type: ignore[no-untyped-def]
    """Whether all bytes of a text are ASCII."""
    at = np.int64(0)
    seen = _U0
    while at + 8 <= length:
        seen |= load_eight(address, at)
        at += 8
    while at < length:
        seen |= np.uint64(load_byte(address, at))
        at += 1
    return seen & _HIGH == _U0


@compiled_inner
def is_plain(eight):  # type: ignore[no-untyped-def]
    """Whether eight bytes have no white space but single spaces, none of them at the end."""
    other = eight ^ _SPACES
    space = ~(((other & _REST) + _REST) | other | _REST)
    control = (eight - _SPACES) & ~eight & _HIGH
    return control | (space & (space >> _U8)) | (space & _LAST) == _U0


@compiled_inner
def lowered(eight):  # type: ignore[no-untyped-def]
    """Eight bytes with the capitals of ASCII in lower case."""
    rest = eight & _REST
    capital = ((rest + _FROM_A) ^ (rest + _BEYOND_Z)) & ~eight & _HIGH
    return eight | (capital >> _U2)


@compiled_inner
def mixed(state, word, lane):  # type: ignore[no-untyped-def]
    """A 64-bit state after one more word."""
    state = (state ^ word) * _PRIMES[lane]
    return state ^ (state >> _SHIFTS[lane])


@compiled_inner
def normal_key(address, length):  # type: ignore[no-untyped-def]
    """(high, low) of one text. What is read is put together to words of eight bytes, whatever was left out."""
    high, low = _SEEDS
    held, used, size = _U0, _U0, _U0
    at = np.int64(0)
    while at < length and is_space(load_byte(address, at)):
        at += 1
    while at < length:
        if at + 8 <= length and is_plain(load_eight(address, at)):
            word, count = lowered(load_eight(address, at)), _U8
            at += 8
        else:
            byte, at = next_byte(address, at, length)
            if byte < 0:
                break
            word, count = np.uint64(byte), _U1
        size += count
        held |= word << (used * _U8)
        used += count
        if used >= _U8:
            high, low = mixed(high, held, 0), mixed(low, held, 1)
            used -= _U8
            # A shift by 64 bits is undefined: shift by 8 and by the rest.
            held = (word >> _U8) >> ((count - used - _U1) * _U8) if used else _U0
    # The length tells texts apart that end in zero bytes.
    high, low = mixed(mixed(high, held, 0), size, 0), mixed(mixed(low, held, 1), size, 1)
    return high, low


@compiled
def normal_keys(addresses, lengths, ascii_only, keys, beyond):  # type: ignore[no-untyped-def]
    """Keys of texts with the capitals of ASCII in lower case and every run of ASCII white space as one space.

    Args:
        addresses: uint64 [n], of the first byte of each text.
        lengths: int64 [n], bytes of each text.
        ascii_only: leave out texts that hold more than ASCII.
        keys: uint64 [n, 2], output.
        beyond: bool [n], output: what was left out.
    """
    for row in range(len(addresses)):
        beyond[row] = ascii_only and not is_ascii(addresses[row], lengths[row])
        if not beyond[row]:
            keys[row, 0], keys[row, 1] = normal_key(addresses[row], lengths[row])


def text_keys(text: pl.Series) -> pl.DataFrame:
    """`high`, `low` (UInt64) of each text: equal where `normalise` makes the texts equal; a null is an empty text.

    Valid within one process; not meant to be stored.
    """
    spans = string_spans(text)
    keys = np.empty((len(text), 2), dtype=np.uint64)
    beyond = np.zeros(len(text), dtype=np.bool_)
    normal_keys(spans.addresses, spans.lengths, True, keys, beyond)
    rest = np.flatnonzero(beyond)
    if len(rest):
        others = string_spans(normalise(text.gather(rest)))
        found = np.empty((len(rest), 2), dtype=np.uint64)
        normal_keys(others.addresses, others.lengths, False, found, np.zeros(len(rest), dtype=np.bool_))
        keys[rest] = found
    return pl.DataFrame({"high": keys[:, 0], "low": keys[:, 1]})
