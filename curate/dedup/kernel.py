"""The compiled tokeniser and MinHash kernel. Importing this module imports numba.

Text is read in place from Arrow memory. A token is a 64-bit hash of a lower-cased word (or of one
character of an unspaced script) plus 32 bits about where and how it was written. Signatures follow
datasketch's ``affine32`` scheme bit for bit: ``min over tokens of a[k] * fmix32(h) + b[k] mod 2**32``.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from curate.dedup import alphabet as _a
from curate.dedup.compiled import compiled, compiled_inner
from curate.dedup.memory import BLOCK, fold_block, load_byte, load_eight, store_eight, trailing_zeros
from curate.dedup.symbols import is_reference, joins_numbers, operators, signed

# Bits of a token's description.
OPEN, CAPITAL, UNSPACED = 0x01, 0x02, 0x04  # opens a line or a value; begins with a capital; of an unspaced script
NUMBER, FUNCTION, INNER_CAPITAL, SHORT, NUMBER_WORD, NEGATION, ENTITY = (1 << bit for bit in range(3, 10))
CLOSED_SET = 10  # from this bit on: the number of the closed set that the word belongs to, 0 for none
CLOSED_SETS = 63 << CLOSED_SET
SYMBOLS = 16  # from this bit on: a hash of the operators before the token, 0 for none
STRONG = 1 << 31  # one of them belongs to the token alone, so that its absence tells as well

_CODE_MASK, _IS_WORD, _IS_UNSPACED = _a.CODE_MASK, _a.IS_WORD, _a.IS_UNSPACED
_IS_CAPITAL, _IS_DROPPED, _TABLE_SIZE = _a.IS_CAPITAL, _a.IS_DROPPED, _a.TABLE_SIZE
_SHARP_S, _CAPITAL_SHARP_S = _a.SHARP_S
_CAPITAL_BYTE, _UNSPACED_BYTE = _a.CAPITAL_BYTE, _a.UNSPACED_BYTE

PADDING = BLOCK + 16  # zeros behind transcoded text: a whole block and two words of eight bytes may be read there
_HIGH_BITS = np.uint64(0x8080808080808080)
_ALL = np.uint64(0xFFFFFFFFFFFFFFFF)
_PRIME = np.uint64(0x9E3779B97F4A7C15)
_SEED = np.uint64(0xCBF29CE484222325)
_MIX = np.uint64(0xFF51AFD7ED558CCD)
NUMBER_MASK = np.uint64(0xD6E8FEB86659FD93)  # stands for any number in the masked hash
WORD_SET_BITS = 17
MIN_CONTENT = 6  # with fewer content tokens, all tokens propose candidates

# Typed constants: a constructor call inside compiled code costs compile time at every use.
_U0, _U1, _U2, _U3, _U29, _U32, _U56, _U63, _U255 = map(np.uint64, (0, 1, 2, 3, 29, 32, 56, 63, 255))
_V0, _V6, _V8, _V13, _V16, _V32, _V63, _V768 = map(np.uint32, (0, 6, 8, 13, 16, 32, 63, 768))
_MURMUR_1, _MURMUR_2, _LARGEST = map(np.uint32, (0x85EBCA6B, 0xC2B2AE35, 0xFFFFFFFF))
_WORD_SET_SHIFT = np.uint64(64 - WORD_SET_BITS)


@compiled_inner
def compose(base, mark, pairs, composed):  # type: ignore[no-untyped-def]
    """The character that a letter and a combining mark make together, 0 when there is none."""
    key = (base << _V8) | (mark - _V768)
    place, beyond = 0, len(pairs) - 1
    while place < beyond:
        middle = (place + beyond) >> 1
        if pairs[middle] < key:
            place = middle + 1
        else:
            beyond = middle
    return composed[place] if pairs[place] == key else _V0


@compiled_inner
def put_code(out, used, code):  # type: ignore[no-untyped-def]
    """Write a code point as UTF-8; returns the number of bytes used then."""
    if code < 0x80:
        out[used] = code
        return used + 1
    size = 2 if code < 0x800 else 3 if code < 0x10000 else 4
    for step in range(size - 1, 0, -1):
        out[used + step] = 0x80 | (code & _V63)
        code = code >> _V6
    out[used] = code | np.uint32(0xF00 >> size & 0xFF)
    return used + size


@compiled_inner
def transcode(address, length, fold, pairs, composed, out):  # type: ignore[no-untyped-def]
    """Fold UTF-8 text to the tokeniser's alphabet; returns the number of bytes written to `out`.

    Words beyond ASCII are written folded, behind a mark when they begin with a capital; characters of unspaced
    scripts each behind a mark, with a space after the last; separators become ASCII separators. `out` needs
    2 * length + 8 bytes.
    """
    at = 0
    used = 0
    last = _V0
    in_word: Any = False
    unspaced = False
    target = np.uint64(out.ctypes.data)
    while at < length:
        while at + 8 <= length:
            eight = load_eight(address, at)
            if eight & _HIGH_BITS or unspaced:
                break
            store_eight(target, used, eight)
            at += 8
            used += 8
            last = np.uint32(eight >> _U56)
        if at >= length:
            break
        if last < 0x80:
            last = last | _V32 if 0x41 <= last <= 0x5A else last
            in_word = 0x61 <= last <= 0x7A or 0x30 <= last <= 0x39 or last == 0x5F
        first = np.uint32(load_byte(address, at))
        if first < 0x80:
            at += 1
            if unspaced:
                out[used] = 32
                used += 1
                unspaced = False
            out[used] = first
            used += 1
            last = first | _V32 if 0x41 <= first <= 0x5A else first
            in_word = 0x61 <= last <= 0x7A or 0x30 <= first <= 0x39 or first == 0x5F
            continue
        size = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
        code = first & np.uint32(0xFF >> (size + 1))
        for step in range(1, size):
            code = (code << _V6) | (np.uint32(load_byte(address, at + step)) & _V63)
        at += size
        entry = fold[code] if code < _TABLE_SIZE else np.uint32(_IS_WORD | _IS_UNSPACED | code)
        if code >= 0xE0000:
            entry = np.uint32(_IS_DROPPED)
        if entry & _IS_DROPPED:
            whole = compose(last, code, pairs, composed) if in_word and 0x300 <= code < 0x370 else _V0
            if whole:
                used -= 1 if last < 0x80 else 2 if last < 0x800 else 3
                entry = whole | np.uint32(_IS_WORD)
            if entry & _IS_DROPPED:
                continue
        folded = entry & np.uint32(_CODE_MASK)
        if unspaced and not entry & _IS_UNSPACED:
            out[used] = 32
            used += 1
        unspaced = entry & _IS_UNSPACED != 0
        if unspaced:
            out[used] = _UNSPACED_BYTE
            used += 1
        elif entry & _IS_CAPITAL and not in_word:
            out[used] = _CAPITAL_BYTE
            used += 1
        in_word = entry & _IS_WORD != 0
        last = folded
        for _ in range(2 if code == _SHARP_S or code == _CAPITAL_SHARP_S else 1):
            used = put_code(out, used, folded)
    return used


@compiled_inner
def add_carry(one, other, carry):  # type: ignore[no-untyped-def]
    """The sum of two words of 64 bits and a carry; returns (sum, carry).

    Added to a mask of runs of ones, a mask of bits inside them sets the bit behind each run that holds any.
    """
    partial = one + other
    total = partial + carry
    return total, np.uint64(partial < one) | np.uint64(total < partial)


@compiled_inner
def word_edges(address, length, edges):  # type: ignore[no-untyped-def]
    """Bring text to lower case and note where words begin and end, in turns; returns the number of edges (even).

    An edge is 8 * place + 4 * operator + 2 * capital + 1 * other. At the beginning of a word: the gap before it holds
    an operator; its first letter was a capital; the gap opens a line or a value. At its end: a later letter was a
    capital, or it holds an underscore, which makes a name as well; it holds a digit.
    """
    used = 0
    inside = numbers = capitals = openings = symbols = _U0
    for block in range(0, length + 1, BLOCK):
        words, upper, digits, opens, scores, signs = fold_block(address, block)
        before = words << _U1 | inside
        starts = words & ~before
        numbered, numbers = add_carry(words, digits, numbers)
        inner, capitals = add_carry(words, upper & ~starts | scores, capitals)
        opened, openings = add_carry(~words, opens, openings)
        between, symbols = add_carry(~words, signs, symbols)
        other = (opened & words) | (numbered & ~words)
        capital = (upper & starts) | (inner & ~words)
        between &= words
        inside = words >> _U63
        turns = words ^ before
        while turns:
            at = np.uint64(trailing_zeros(turns))
            flags = (between >> at & _U1) << _U2 | (capital >> at & _U1) << _U1 | (other >> at & _U1)
            edges[used] = (np.uint64(block) + at) << _U3 | flags
            used += 1
            turns &= turns - _U1
    return used


@compiled_inner
def low_bytes(count):  # type: ignore[no-untyped-def]
    """A mask of the lowest bytes of eight: of none for a negative count, of all for more than eight."""
    half = np.uint64(4 * max(0, min(count, 8)))  # in two halves: a shift by 64 is not defined
    return ~(_ALL << half << half)


@compiled_inner
def hash_step(value, eight):  # type: ignore[no-untyped-def]
    """Mix eight bytes into a hash."""
    value = (value ^ eight) * _PRIME
    return value ^ value >> _U32


@compiled_inner
def hash_word(address, start, size):  # type: ignore[no-untyped-def]
    """Hash of the bytes of a word.

    Two steps for every word, whatever its length: how long the next word is cannot be predicted, and a wrong guess
    costs more than a step over nothing.
    """
    value = hash_step(_SEED ^ np.uint64(size), load_eight(address, start) & low_bytes(size))
    value = hash_step(value, load_eight(address, start + 8) & low_bytes(size - 8))
    for at in range(16, size, 8):
        value = hash_step(value, load_eight(address, start + at) & low_bytes(size - at))
    return value


@compiled_inner
def tokenise(address, length, words, room, hashes, marks):  # type: ignore[no-untyped-def]
    """Cut transcoded text into tokens and bring it to lower case; returns the number of tokens.

    Args:
        address: of the first byte.
        length: bytes of text; PADDING zeros follow.
        words: uint32 table over the top WORD_SET_BITS bits of a hash: the hash's low byte, and above it the bits of the
            word's class: FUNCTION, NUMBER_WORD, NEGATION, ENTITY, and CLOSED_SETS.
        room: of `tables.token_room`; where each token begins and ends is left in its second array, in turns.
        hashes: uint64 output for half as many tokens.
        marks: uint32 output for as many.
    """
    _, edges = room
    ends = word_edges(address, length, edges)
    count = 0
    before = carried = np.int64(0)
    for edge in range(0, ends, 2):
        begins, leaves = np.int64(edges[edge]) | carried, np.int64(edges[edge + 1])
        start, stop, digits = begins >> 3, leaves >> 3, leaves & 1
        # Underscores around words are emphasis.
        while stop - start > 1 and load_byte(address, start) == 95:
            start += 1
        while stop - start > 1 and load_byte(address, stop - 1) == 95:
            stop -= 1
        size = stop - start
        carried = np.int64(0)
        value = hash_word(address, start, size)
        ahead = load_byte(address, start - (start > 0))
        # What stands before the word stands before its mark, too.
        lead = start - np.int64(start > 0 and (ahead == _CAPITAL_BYTE or ahead == _UNSPACED_BYTE))
        symbols = operators(address, before, lead) if begins & 4 and edge else 0
        # Without branches: what a word looks like cannot be predicted.
        mark = OPEN * (begins & 1 | np.int64(edge == 0)) | CAPITAL * (
            begins >> 1 & 1 | np.int64(ahead == _CAPITAL_BYTE)
        )
        mark |= UNSPACED * np.int64(ahead == _UNSPACED_BYTE) | INNER_CAPITAL * (leaves >> 1 & 1)
        if digits:
            mark |= NUMBER
            value = signed(address, lead, value)
        value = (value ^ (value >> _U29)) * _MIX
        value ^= value >> _U32
        if digits and count and lead == before + 1 and joins_numbers(address, before):
            # Points and commas between digits belong to the number.
            hashes[count - 1] = (hashes[count - 1] ^ value) * _PRIME
            before = stop
            continue
        if count and lead == before + 1 and load_byte(address, before) == 46:
            # Words that a point joins are a name: a file, a host, a method.
            marks[count - 1] |= INNER_CAPITAL
            mark |= INNER_CAPITAL
        listed = np.int64(words[value >> _WORD_SET_SHIFT])
        mark |= (listed >> 8) * np.int64(listed & 0xFF == np.int64(value & _U255))
        if mark & (ENTITY | NUMBER) and is_reference(address, start, stop, length, mark & ENTITY):
            carried = begins & 5  # part of the gap before the next word
            continue
        before = stop
        mark |= symbols << SYMBOLS
        mark |= SHORT * np.int64(size < 4)
        hashes[count] = value
        marks[count] = mark
        edges[2 * count], edges[2 * count + 1] = start, stop  # no edge that is still to be read stands there
        count += 1
    return count


@compiled
def row_tokens(address, length, tables, room, hashes, marks):  # type: ignore[no-untyped-def]
    """Tokens of one row of UTF-8 text; returns their number. `tables` = (words, fold, pairs, composed)."""
    words, fold, pairs, composed = tables
    text = np.uint64(room[0].ctypes.data)
    size = transcode(address, length, fold, pairs, composed, room[0])
    for at in range(size, size + PADDING, 8):
        store_eight(text, at, _U0)
    return tokenise(text, size, words, room, hashes, marks)


@compiled
def minhash(tokens, count, a, b, signature):  # type: ignore[no-untyped-def]
    """Datasketch's affine32 MinHash of 32-bit token hashes; an empty set leaves every value at 2**32 - 1.

    Overwrites the tokens. Four are taken at once: the signature is read and written a quarter as often.
    """
    for index in range(count):
        mixed = tokens[index]
        mixed ^= mixed >> _V16
        mixed = np.uint32(mixed * _MURMUR_1)
        mixed ^= mixed >> _V13
        mixed = np.uint32(mixed * _MURMUR_2)
        tokens[index] = mixed ^ mixed >> _V16
    for k in range(len(a)):
        signature[k] = _LARGEST
    whole = count // 4 * 4
    for at in range(0, whole, 4):
        one, two, three, four = tokens[at], tokens[at + 1], tokens[at + 2], tokens[at + 3]
        for k in range(len(a)):
            low = min(np.uint32(a[k] * one + b[k]), np.uint32(a[k] * two + b[k]))
            high = min(np.uint32(a[k] * three + b[k]), np.uint32(a[k] * four + b[k]))
            signature[k] = min(signature[k], low, high)
    for at in range(whole, count):
        for k in range(len(a)):
            signature[k] = min(signature[k], np.uint32(a[k] * tokens[at] + b[k]))


@compiled_inner
def shingles(hashes, marks, count, out):  # type: ignore[no-untyped-def]
    """32-bit shingles that propose candidates: content words, and pairs of neighbouring unspaced characters.

    Function words, words under four letters and numbers are left out, so that rows of one language do not all
    look alike and template variants are proposed; when little is left, every token counts.
    """
    used = 0
    before = _U0
    for index in range(count):
        unspaced = np.int64(marks[index]) & UNSPACED
        if unspaced:
            out[used] = np.uint32((hashes[index] ^ (before * _PRIME)) >> _U32)
            used += before != 0
            before = hashes[index]
        else:
            out[used] = np.uint32(hashes[index] >> _U32)
            used += marks[index] & (NUMBER | FUNCTION | SHORT) == 0
            before = _U0
    if used < MIN_CONTENT:
        used = 0
        for index in range(count):
            out[used] = np.uint32(hashes[index] >> _U32)
            used += 1
    return used


@compiled
def sketch_rows(addresses, lengths, tables, a, b, band_rows, space, outputs):  # type: ignore[no-untyped-def]
    """Tokenise and sketch rows.

    Args:
        addresses: uint64 [n], of the first byte of each row.
        lengths: int64 [n], bytes of each row.
        tables: lookup tables of the tokeniser.
        a: uint32 [num_perm], odd multipliers of the permutations.
        b: uint32 [num_perm], their offsets.
        band_rows: signature values a band.
        space: working memory for the longest row, of `tables.row_space`.
        outputs: (bands uint32 [num_perm // band_rows, all rows], sequence uint64 [n], masked uint64 [n],
            tokens int32 [n], signatures uint32 [n, num_perm], or [n, 0] to leave them out, place of the first row in
            `bands`).
    """
    bands, sequence, masked, tokens, signatures, first = outputs
    room, hashes, marks, chosen, signature = space
    for row in range(len(lengths)):
        count = row_tokens(addresses[row], lengths[row], tables, room, hashes, marks)
        whole, mask = _SEED, _SEED
        for index in range(count):
            whole = (whole ^ hashes[index]) * _PRIME
            whole ^= whole >> _U32
            shown = NUMBER_MASK if marks[index] & (NUMBER | NUMBER_WORD) else hashes[index]
            mask = (mask ^ shown) * _PRIME
            mask ^= mask >> _U32
        sequence[row], masked[row], tokens[row] = whole, mask, count
        used = shingles(hashes, marks, count, chosen)
        minhash(chosen, used, a, b, signature)
        for k in range(signatures.shape[1]):
            signatures[row, k] = signature[k]
        for band in range(len(bands)):
            key = _SEED
            for k in range(band * band_rows, (band + 1) * band_rows):
                key = (key ^ np.uint64(signature[k])) * _PRIME
                key ^= key >> _U32
            bands[band, first + row] = np.uint32(key)
