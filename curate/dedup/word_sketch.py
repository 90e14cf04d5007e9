"""The sketch of the fast setting: pairs of neighbouring words, cut from the text 64 bytes at a time.

Importing this module imports numba. Verification reads rows with the full tokeniser (`curate.dedup.kernel`); to propose
a pair, it is enough to tell words apart, and that costs a third.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.dedup.compiled import compiled, compiled_inner
from curate.dedup.kernel import PADDING, minhash, transcode
from curate.dedup.memory import BLOCK, load_eight, set_bits, store_eight, trailing_zeros, word_block

_PRIME = np.uint64(0x9E3779B97F4A7C15)
_OTHER_PRIME = np.uint64(0xC2B2AE3D27D4EB4F)
_LOWER = np.uint64(0x2020202020202020)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_SEED = np.uint64(0xCBF29CE484222325)
_U0, _U1, _U7, _U8, _U29, _U32, _U63, _U64 = map(np.uint64, (0, 1, 7, 8, 29, 32, 63, 64))

FRONT = 8  # bytes before the text that may be read
_STRIDE = 8  # edges written at once


@compiled_inner
def word_turns(address, length, turns):  # type: ignore[no-untyped-def]
    """Where words begin and end, in turns, in uint32 `turns` (room for one a byte, and BLOCK more); their number, even.

    Eight are written at a time, whether or not there are so many: how many words a block holds cannot be predicted.
    """
    used: Any = 0
    inside = _U0
    for block in range(0, length + 1, BLOCK):
        words = word_block(address, block)
        turning = words ^ (words << _U1 | inside)
        inside = words >> _U63
        count = np.int64(set_bits(turning))
        for at in range(0, count, _STRIDE):
            for step in range(_STRIDE):
                turns[used + at + step] = block + trailing_zeros(turning)
                turning &= turning - _U1
        used += count
    return used


@compiled_inner
def hash_words(address, turns, count, hashes):  # type: ignore[no-untyped-def]
    """Hash the first and the last eight bytes of each word, and its length, whatever the case of ASCII letters."""
    for word in range(count):
        start, stop = np.int64(turns[2 * word]), np.int64(turns[2 * word + 1])
        size = np.uint64(stop - start)
        spare = _U8 * (_U8 - min(size, _U8))  # below 64: no word is empty
        first = (load_eight(address, start) | _LOWER) & (_ALL >> spare)
        last = (load_eight(address, stop - 8) | _LOWER) >> spare
        value = (first ^ size) * _PRIME ^ last * _OTHER_PRIME
        hashes[word] = value ^ value >> _U32


@compiled_inner
def row_words(address, length, tables, room, hashes):  # type: ignore[no-untyped-def]
    """Hashes of the words of one row of UTF-8 text, in order; returns their number. Room as for `kernel.row_tokens`."""
    text, turns = room
    _, fold, pairs, composed = tables
    start = np.uint64(text.ctypes.data) + np.uint64(FRONT)
    size = transcode(address, length, fold, pairs, composed, text[FRONT:])
    for at in range(size, size + PADDING, 8):
        store_eight(start, at, _U0)
    count = word_turns(start, size, turns) // 2
    hash_words(start, turns, count, hashes)
    return count


@compiled
def sketch_words(addresses, lengths, tables, a, b, band_rows, space, outputs):  # type: ignore[no-untyped-def]
    """`kernel.sketch_rows` over pairs of neighbouring words; arguments as there, the masked hash is left alone."""
    bands, sequence, _, tokens, _, first = outputs
    room, hashes, _, chosen, signature = space
    for row in range(len(lengths)):
        count = row_words(addresses[row], lengths[row], tables, room, hashes)
        whole = np.uint64(count)
        for index in range(count):
            mixed = (hashes[index] + np.uint64(index)) * _PRIME
            whole += mixed ^ mixed >> _U29
        for index in range(1, count):
            chosen[index - 1] = np.uint32((hashes[index - 1] * _PRIME + hashes[index]) * _OTHER_PRIME >> _U32)
        sequence[row], tokens[row] = whole, count
        minhash(chosen, max(0, count - 1), a, b, signature)
        for band in range(len(bands)):
            key = _SEED
            for k in range(band * band_rows, (band + 1) * band_rows):
                key = (key ^ np.uint64(signature[k])) * _PRIME
                key ^= key >> _U32
            bands[band, first + row] = np.uint32(key)
