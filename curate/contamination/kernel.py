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
_PAIR = np.uint64(16 << 56)
_SPACE, _MARK, _LINE, _STOP = 0x20, 0xC2, 0xB6, 0xA7  # a space; the first and second bytes of words.LINE and STOP
AT_LINE, AT_STOP = 1, 2
UNIT, WITHIN = 0, 1
SHORT_RUNS = (3, 4)
"""Questions of so many words are too short for runs; they are looked for where a sentence begins or ends as well."""
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


@compiled_inner
def sip_pair(first, second, key):  # type: ignore[no-untyped-def]
    """SipHash-1-3 of two 64-bit words: a secret number for each word of each segment."""
    v0, v1, v2, v3 = key[0] ^ _V0, key[1] ^ _V1, key[0] ^ _V2, key[1] ^ _V3
    v3 ^= first
    v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
    v0 ^= first
    v3 ^= second
    v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
    v0 ^= second
    v3 ^= _PAIR
    v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
    v0 ^= _PAIR
    v2 ^= _UFF
    for _ in range(3):
        v0, v1, v2, v3 = sip_round(v0, v1, v2, v3)
    return v0 ^ v1 ^ v2 ^ v3


@compiled_inner
def print_of(word_secret, place_secret):  # type: ignore[no-untyped-def]
    """What an index holds of one word at one place: equal words at two places, or in two items, do not look alike."""
    return np.uint32(mixed(word_secret ^ place_secret) >> _U32)


@compiled
def word_prints(words, begin, salts, key, out):  # type: ignore[no-untyped-def]
    """The print of every word of every segment.

    Args:
        words: uint64, of all segments.
        begin: int64 [segments + 1].
        salts: uint64 [segments], a keyed hash of each segment.
        key: uint64 [2].
        out: uint32 [words], filled.
    """
    for seg in range(len(salts)):
        for at in range(begin[seg], begin[seg + 1]):
            place = sip_pair(~salts[seg], np.uint64(at - begin[seg]), key)
            out[at] = print_of(sip_pair(salts[seg], words[at], key), place)


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
        lines: uint8, the same room; AT_LINE where a line begins with the word, AT_STOP where a sentence does.
    """
    count, value, digit, begin, opens = 0, _OFFSET, 0, 0, AT_LINE
    for at in range(length + 1):
        byte = load_byte(address, at) if at < length else _SPACE
        if byte != _SPACE:
            value = (value ^ np.uint64(byte)) * _FNV
            digit |= 48 <= byte <= 57
            continue
        second = load_byte(address, begin + 1) if at == begin + 2 and load_byte(address, begin) == _MARK else _SPACE
        if second == _LINE:
            opens = AT_LINE
        elif second == _STOP:
            opens = AT_STOP if opens != AT_LINE else AT_LINE
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


@compiled_inner
def find_runs(hashes, numbers, count, width, key, table, row, used, out):  # type: ignore[no-untyped-def]
    """Look up every run of words of one text, as it is and with its numbers masked; see `scan_texts`."""
    filter_bits, directory, shift, grams = table
    text, place, gram = out
    digits = 0
    for last in range(count):
        # How many of the run's words hold a digit: the word that enters, the word that left.
        digits += numbers[last]
        if last >= width:
            digits -= numbers[last - width]
        if last < width - 1:
            continue
        first = last - width + 1
        for kind in range(2 if digits else 1):
            at = look_up(siphash(hashes, first, width, key, numbers, kind == 1), filter_bits, directory, shift, grams)
            if at >= 0:
                if used < len(text):
                    text[used], place[used], gram[used] = row, first, at
                used += 1
    return used


@compiled_inner
def note_whole(hashes, span, kind, key, table, longest, row, used, out):  # type: ignore[no-untyped-def]
    """Look up the words of a span (first, behind the last) as a whole question; see `scan_texts`."""
    filter_bits, directory, shift, wholes = table
    first, end = span
    if not 0 < end - first <= longest:
        return used
    at = look_up(siphash(hashes, first, end - first, key, hashes, False), filter_bits, directory, shift, wholes)
    if at < 0:
        return used
    text, place, whole, kinds, stop = out
    if used < len(text):
        text[used], place[used], whole[used], kinds[used], stop[used] = row, first, at, kind, end
    return used + 1


@compiled_inner
def find_wholes(hashes, lines, count, key, table, longest, row, used, out):  # type: ignore[no-untyped-def]
    """Look up one text, its lines and its sentences as whole questions; see `scan_texts`."""
    line = sentence = 0
    for at in range(1, count + 1):
        if at < count and not lines[at]:
            continue
        used = note_whole(hashes, (sentence, at), UNIT, key, table, longest, row, used, out)
        for few in SHORT_RUNS:
            if sentence + few <= count:
                used = note_whole(hashes, (sentence, sentence + few), WITHIN, key, table, longest, row, used, out)
            if at - few > sentence:
                used = note_whole(hashes, (at - few, at), WITHIN, key, table, longest, row, used, out)
        if at == count or lines[at] == AT_LINE:
            if line < sentence:
                used = note_whole(hashes, (line, at), UNIT, key, table, longest, row, used, out)
            # Behind a number, a letter, or the word that announces it.
            used = note_whole(hashes, (line + 1, at), UNIT, key, table, longest, row, used, out)
            if at == count and line:
                used = note_whole(hashes, (0, count), UNIT, key, table, longest, row, used, out)
            line = at
        sentence = at
    return used


@compiled
def scan_texts(addresses, lengths, width, key, tables, longest, room, runs, wholes):  # type: ignore[no-untyped-def]
    """Look up every run of words of some texts, and every line and sentence as a whole question.

    Args:
        addresses: uint64 [n], of the texts.
        lengths: int64 [n], their bytes.
        width: words a run.
        key: uint64 [2].
        tables: of runs and of whole questions: (filter_bits, directory, shift, hashes), see `look_up`.
        longest: words of the longest question.
        room: (hashes, numbers, lines) for the longest text, see `cut_words`.
        runs: (text, place, gram), int32, filled: for each hit the text, the word at which the run begins, and the place
            of the run in its table.
        wholes: (text, place, whole, kind, stop), int32, likewise; `kind` is UNIT for a turn, a line or a sentence,
            WITHIN for a few words where one begins or ends; `stop` is the word behind it.

    Returns:
        (hits of runs, hits of whole questions, words); hits beyond the room are counted and not noted.
    """
    hashes, numbers, lines = room
    found = used = words = 0
    for row in range(len(lengths)):
        count = cut_words(addresses[row], lengths[row], hashes, numbers, lines)
        words += count
        found = find_runs(hashes, numbers, count, width, key, tables[0], row, found, runs)
        if count:
            used = find_wholes(hashes, lines, count, key, tables[1], longest, row, used, wholes)
    return found, used, words


@compiled
def holds_run(hashes, begin, end, count, key, wanted):  # type: ignore[no-untyped-def]
    """Where a run of `count` words with this keyed hash begins among the words begin to end; -1 if nowhere."""
    none = np.zeros(1, np.uint8)
    for start in range(begin, end - count + 1):
        if siphash(hashes, start, count, key, none, False) == wanted:
            return start
    return -1
