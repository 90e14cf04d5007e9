"""Compiled: hashes of words and of runs of words, and looking runs up. Importing this module imports numba.

Word hashes depend on the bytes of the word alone, so that an index can be kept and used by other versions and machines.
Runs are hashed with SipHash-2-4 (Aumasson and Bernstein 2012), so that an index made with a secret key tells nobody
without the key which runs it holds.
"""

from __future__ import annotations

import numpy as np

from curate.dedup.compiled import compiled, compiled_inner
from curate.dedup.memory import load_byte

_OFFSET, _FNV = np.uint64(0xCBF29CE484222325), np.uint64(0x100000001B3)
_MIX_1, _MIX_2 = np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53)
_V0, _V1 = np.uint64(0x736F6D6570736575), np.uint64(0x646F72616E646F6D)
_V2, _V3 = np.uint64(0x6C7967656E657261), np.uint64(0x7465646279746573)
_U3, _U7, _U13, _U16, _U17, _U21, _U32, _U33, _U43, _U47, _U48, _U51, _U56, _UFF = map(
    np.uint64, (3, 7, 13, 16, 17, 21, 32, 33, 43, 47, 48, 51, 56, 0xFF)
)
_SPACE, _LINE_1, _LINE_2 = 0x20, 0xC2, 0xB6  # a space, and the two bytes of words.LINE
NUMBER = np.uint64(0x9E3779B97F4A7C15)
"""Stands for any word with a digit in masked runs."""


@compiled_inner
def mixed(value):  # type: ignore[no-untyped-def]
    """The finaliser of MurmurHash3: every bit of the value reaches every bit of the result."""
    value = (value ^ (value >> _U33)) * _MIX_1
    value = (value ^ (value >> _U33)) * _MIX_2
    return value ^ (value >> _U33)


@compiled_inner
def sip_round(v0, v1, v2, v3):  # type: ignore[no-untyped-def]
    """One round of SipHash."""
    v0 += v1
    v1 = ((v1 << _U13) | (v1 >> _U51)) ^ v0
    v0 = (v0 << _U32) | (v0 >> _U32)
    v2 += v3
    v3 = ((v3 << _U16) | (v3 >> _U48)) ^ v2
    v0 += v3
    v3 = ((v3 << _U21) | (v3 >> _U43)) ^ v0
    v2 += v1
    v1 = ((v1 << _U17) | (v1 >> _U47)) ^ v2
    v2 = (v2 << _U32) | (v2 >> _U32)
    return v0, v1, v2, v3


@compiled_inner
def siphash(words, start, count, key, numbers, masked):  # type: ignore[no-untyped-def]
    """SipHash-2-4 of `count` 64-bit words as little-endian bytes; with `masked`, numbers count as one word."""
    v0, v1, v2, v3 = key[0] ^ _V0, key[1] ^ _V1, key[0] ^ _V2, key[1] ^ _V3
    for index in range(start, start + count):
        word = NUMBER if masked and numbers[index] else words[index]
        v3 ^= word
        v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
        v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
        v0 ^= word
    last = np.uint64(8 * count) << _U56
    v3 ^= last
    v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
    v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
    v0 ^= last
    v2 ^= _UFF
    for _ in range(4):
        v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
    return v0 ^ v1 ^ v2 ^ v3


@compiled
def run_hashes(words, starts, counts, key, out):  # type: ignore[no-untyped-def]
    """Keyed hash of each of some runs of words.

    Args:
        words: uint64.
        starts: int64 [n], the first word of each run.
        counts: int64 [n], its words.
        key: uint64 [2].
        out: uint64 [n], filled.
    """
    none = np.zeros(1, np.uint8)
    for row in range(len(starts)):
        out[row] = siphash(words, starts[row], counts[row], key, none, False)


@compiled_inner
def cut_words(address, length, hashes, numbers, lines):  # type: ignore[no-untyped-def]
    """Hash the words of one comparable text; returns how many there are.

    Args:
        address: of the text's first byte.
        length: bytes of the text.
        hashes: uint64, room for (length + 1) // 2 + 1 words.
        numbers: uint8, the same room; whether the word holds a digit.
        lines: uint8, the same room; whether a line begins with the word.
    """
    count, value, digit, begin, opens = 0, _OFFSET, 0, 0, 1
    for at in range(length + 1):
        byte = load_byte(address, at) if at < length else _SPACE
        if byte != _SPACE:
            value = (value ^ np.uint64(byte)) * _FNV
            digit |= 48 <= byte <= 57
            continue
        if at == begin + 2 and load_byte(address, begin) == _LINE_1 and load_byte(address, begin + 1) == _LINE_2:
            opens = 1
        elif at > begin:
            hashes[count], numbers[count], lines[count] = mixed(value), digit, opens
            count += 1
            opens = 0
        value, digit, begin = _OFFSET, 0, at + 1
    return count


@compiled
def word_table(addresses, lengths, offsets, hashes, numbers, lines):  # type: ignore[no-untyped-def]
    """Words of many texts, one text behind the other.

    Args:
        addresses: uint64 [n].
        lengths: int64 [n].
        offsets: int64 [n + 1], filled: the words of text k are offsets[k] to offsets[k + 1].
        hashes: uint64, as for `cut_words`, with room for all words and two more a text.
        numbers: uint8, likewise.
        lines: uint8, likewise.
    """
    used = 0
    for row in range(len(lengths)):
        offsets[row] = used
        used += cut_words(addresses[row], lengths[row], hashes[used:], numbers[used:], lines[used:])
    offsets[len(lengths)] = used


@compiled
def item_grams(offsets, hashes, numbers, width, key, grams, owners, places, masked):  # type: ignore[no-untyped-def]
    """Keyed hashes of all runs of `width` words, and once more with numbers masked where there are any.

    Args:
        offsets: of the texts, as `word_table` fills it.
        hashes: likewise.
        numbers: likewise.
        width: words a run.
        key: uint64 [2].
        grams: uint64, filled, with room for two runs a word.
        owners: int32, likewise: the text of each run.
        places: int32, likewise: the word of the text at which it begins.
        masked: uint8, likewise: whether its numbers are masked.

    Returns:
        How many runs there are.
    """
    used = 0
    for row in range(len(offsets) - 1):
        begin = offsets[row]
        for start in range(begin, offsets[row + 1] - width + 1):
            some = False
            for step in range(width):
                some |= numbers[start + step] != 0
            for kind in range(2 if some else 1):
                grams[used] = siphash(hashes, start, width, key, numbers, kind == 1)
                owners[used], places[used], masked[used] = row, start - begin, kind
                used += 1
    return used


@compiled_inner
def look_up(value, filter_bits, directory, shift, grams):  # type: ignore[no-untyped-def]
    """The place of a hash in a sorted array, -1 where it is not there.

    Args:
        value: the hash.
        filter_bits: uint8, a power of two of them, with a bit set for the low bits of every hash there is.
        directory: int64: where hashes with the same bits above `shift` begin.
        shift: see there.
        grams: uint64, sorted, distinct.
    """
    spot = value & np.uint64(8 * len(filter_bits) - 1)
    if not (filter_bits[spot >> _U3] >> np.uint8(spot & _U7)) & 1:
        return -1
    top = value >> shift
    low, end = directory[top], directory[top + np.uint64(1)]
    high = end
    while low < high:
        middle = (low + high) >> 1
        if grams[middle] < value:
            low = middle + 1
        else:
            high = middle
    return low if low < end and grams[low] == value else -1


@compiled
def find_grams(addresses, lengths, width, key, table, room, text, place, gram):  # type: ignore[no-untyped-def]
    """Look up every run of words of some texts, as it is and with its numbers masked.

    Args:
        addresses: uint64 [n], of the texts.
        lengths: int64 [n], their bytes.
        width: words a run.
        key: uint64 [2].
        table: (filter_bits, directory, shift, grams), see `look_up`.
        room: (hashes, numbers, lines) for the longest text, see `cut_words`.
        text: int32, filled for each hit.
        place: int32, likewise: the word at which the run begins.
        gram: int32, likewise: the place of the run in `grams`.

    Returns:
        (hits, words); hits beyond the room are counted and not noted.
    """
    filter_bits, directory, shift, grams = table
    hashes, numbers, lines = room
    found = words = 0
    for row in range(len(lengths)):
        count = cut_words(addresses[row], lengths[row], hashes, numbers, lines)
        words += count
        digits = 0
        for start in range(count):
            # How many of the run's words hold a digit: the word that enters, the word that left.
            digits += numbers[start]
            if start >= width:
                digits -= numbers[start - width]
            if start < width - 1:
                continue
            first = start - width + 1
            for kind in range(2 if digits else 1):
                value = siphash(hashes, first, width, key, numbers, kind == 1)
                at = look_up(value, filter_bits, directory, shift, grams)
                if at >= 0:
                    if found < len(text):
                        text[found], place[found], gram[found] = row, first, at
                    found += 1
    return found, words


@compiled
def line_hashes(addresses, lengths, key, room, owners, out):  # type: ignore[no-untyped-def]
    """Keyed hashes of whole texts and of their lines, the latter also without their first word.

    Args:
        addresses: uint64 [n], of the texts.
        lengths: int64 [n], their bytes.
        key: uint64 [2].
        room: as for `find_grams`.
        owners: int32, filled: the text of each.
        out: uint64, filled: its hash.

    Returns:
        How many there are; those beyond the room are counted and not noted.
    """
    hashes, numbers, lines = room
    used = 0
    for row in range(len(lengths)):
        count = cut_words(addresses[row], lengths[row], hashes, numbers, lines)
        if not count:
            continue
        begin = 0
        for at in range(1, count + 1):
            if at < count and not lines[at]:
                continue
            for skip in range(2 if at - begin > 1 else 1):
                if used < len(out):
                    owners[used] = row
                    out[used] = siphash(hashes, begin + skip, at - begin - skip, key, numbers, False)
                used += 1
            begin = at
        if begin or lines[:count].sum() > 1:
            if used < len(out):
                owners[used], out[used] = row, siphash(hashes, 0, count, key, numbers, False)
            used += 1
    return used


@compiled
def holds_run(hashes, begin, end, count, key, wanted):  # type: ignore[no-untyped-def]
    """Where a run of `count` words with this keyed hash begins among the words begin to end; -1 if nowhere."""
    none = np.zeros(1, np.uint8)
    for start in range(begin, end - count + 1):
        if siphash(hashes, start, count, key, none, False) == wanted:
            return start
    return -1
