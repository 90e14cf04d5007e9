"""The compiled tokeniser and MinHash kernel. Importing this module imports numba.

Text is read in place from Arrow memory. A token is a 64-bit hash of a lower-cased word (or of one
character of an unspaced script) plus 16 bits about where and how it was written. Signatures follow
datasketch's ``affine32`` scheme bit for bit: ``min over tokens of a[k] * fmix32(h) + b[k] mod 2**32``.
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from curate.dedup import alphabet as _a
from curate.dedup.compiled import compiled

# Bits of a token's description.
OPEN, CAPITAL, UNSPACED = _a.OPEN, _a.CAPITAL, _a.UNSPACED
NUMBER, FUNCTION, INNER_CAPITAL, SHORT, NUMBER_WORD = (1 << bit for bit in range(3, 8))

_CODE_MASK, _IS_WORD, _IS_UNSPACED = _a.CODE_MASK, _a.IS_WORD, _a.IS_UNSPACED
_IS_CAPITAL, _IS_DROPPED, _TABLE_SIZE = _a.IS_CAPITAL, _a.IS_DROPPED, _a.TABLE_SIZE
_CAPITAL_BYTE, _UNSPACED_BYTE = _a.CAPITAL_BYTE, _a.UNSPACED_BYTE

_BYTES = np.uint64(0x0101010101010101)
_LOW_BITS, _HIGH_BITS = np.uint64(0x7F7F7F7F7F7F7F7F), np.uint64(0x8080808080808080)
_CASE_BITS = np.uint64(0x2020202020202020)
_PRIME = np.uint64(0x9E3779B97F4A7C15)
_SEED = np.uint64(0xCBF29CE484222325)
_MIX = np.uint64(0xFF51AFD7ED558CCD)
NUMBER_MASK = np.uint64(0xD6E8FEB86659FD93)  # stands for any number in the masked hash
WORD_SET_BITS = 14
MIN_CONTENT = 6  # with fewer content tokens, all tokens propose candidates


@intrinsic
def load_byte(typingctx, address):  # type: ignore[no-untyped-def]
    """One byte at an absolute address."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        pointer = builder.inttoptr(args[0], ir.IntType(8).as_pointer())
        return builder.load(pointer)

    return types.uint8(types.uint64), codegen


@intrinsic
def load_eight(typingctx, address):  # type: ignore[no-untyped-def]
    """Eight bytes at an absolute address, little endian, aligned or not."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        pointer = builder.inttoptr(args[0], ir.IntType(64).as_pointer())
        value = builder.load(pointer)
        value.align = 1
        return value

    return types.uint64(types.uint64), codegen


@intrinsic
def store_eight(typingctx, address, value):  # type: ignore[no-untyped-def]
    """Write eight bytes to an absolute address, little endian, aligned or not."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        pointer = builder.inttoptr(args[0], ir.IntType(64).as_pointer())
        builder.store(args[1], pointer).align = 1
        return context.get_dummy_value()

    return types.void(types.uint64, types.uint64), codegen


@intrinsic
def trailing_zeros(typingctx, value):  # type: ignore[no-untyped-def]
    """Zero bits below the lowest set bit of a value that is not zero."""

    def codegen(context, builder, signature, args):  # type: ignore[no-untyped-def]
        return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))

    return types.int64(types.uint64), codegen


@compiled
def is_ascii(address, length):  # type: ignore[no-untyped-def]
    """Whether no byte of the span has its high bit set."""
    seen = np.uint64(0)
    whole = length // 8 * 8
    for at in range(0, whole, 8):
        seen |= load_eight(address + np.uint64(at))
    for at in range(whole, length):
        seen |= np.uint64(load_byte(address + np.uint64(at)))
    return seen & np.uint64(0x8080808080808080) == 0


@compiled
def transcode(address, length, fold, pairs, composed, out):  # type: ignore[no-untyped-def]
    """Fold UTF-8 text to the tokeniser's alphabet; returns the number of bytes written to `out`.

    Words beyond ASCII are written folded, behind a mark when they begin with a capital; characters of unspaced
    scripts each behind a mark, with a space after the last; separators become ASCII separators. `out` needs
    2 * length + 8 bytes.
    """
    at = 0
    used = 0
    last = np.uint32(0)
    in_word = False
    unspaced = False
    target = np.uint64(out.ctypes.data)
    while at < length:
        while at + 8 <= length:
            eight = load_eight(address + np.uint64(at))
            if eight & _HIGH_BITS or unspaced:
                break
            store_eight(target + np.uint64(used), eight)
            at += 8
            used += 8
            last = np.uint32(eight >> np.uint64(56))
        if at >= length:
            break
        if last < 0x80:
            last = last | np.uint32(0x20) if 0x41 <= last <= 0x5A else last
            in_word = 0x61 <= last <= 0x7A or 0x30 <= last <= 0x39
        first = np.uint32(load_byte(address + np.uint64(at)))
        if first < 0x80:
            at += 1
            if unspaced:
                out[used] = 32
                used += 1
                unspaced = False
            out[used] = first
            used += 1
            last = first | np.uint32(0x20) if 0x41 <= first <= 0x5A else first
            in_word = 0x61 <= last <= 0x7A or 0x30 <= first <= 0x39
            continue
        size = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
        code = first & np.uint32(0xFF >> (size + 1))
        for step in range(1, size):
            code = (code << np.uint32(6)) | (np.uint32(load_byte(address + np.uint64(at + step))) & np.uint32(0x3F))
        at += size
        entry = fold[code] if code < _TABLE_SIZE else np.uint32(_IS_WORD | _IS_UNSPACED | code)
        if code >= 0xE0000:
            entry = np.uint32(_IS_DROPPED)
        if entry & _IS_DROPPED:
            if in_word and 0x300 <= code < 0x370:
                key = (last << np.uint32(8)) | (code - np.uint32(0x300))
                place, beyond = 0, len(pairs) - 1
                while place < beyond:
                    middle = (place + beyond) >> 1
                    if pairs[middle] < key:
                        place = middle + 1
                    else:
                        beyond = middle
                if pairs[place] == key:
                    used -= 1 if last < 0x80 else 2 if last < 0x800 else 3
                    entry = composed[place] | np.uint32(_IS_WORD)
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
        if folded < 0x80:
            out[used] = folded
            used += 1
        elif folded < 0x800:
            out[used] = 0xC0 | (folded >> 6)
            out[used + 1] = 0x80 | (folded & 0x3F)
            used += 2
        elif folded < 0x10000:
            out[used] = 0xE0 | (folded >> 12)
            out[used + 1] = 0x80 | ((folded >> 6) & 0x3F)
            out[used + 2] = 0x80 | (folded & 0x3F)
            used += 3
        else:
            out[used] = 0xF0 | (folded >> 18)
            out[used + 1] = 0x80 | ((folded >> 12) & 0x3F)
            out[used + 2] = 0x80 | ((folded >> 6) & 0x3F)
            out[used + 3] = 0x80 | (folded & 0x3F)
            used += 4
    return used


@compiled
def load_up_to_eight(address, count):  # type: ignore[no-untyped-def]
    """The next `count` bytes, at most eight, in the low bytes; no byte beyond them is read."""
    if count >= 8:
        return load_eight(address)
    value = np.uint64(0)
    for at in range(count):
        value |= np.uint64(load_byte(address + np.uint64(at))) << np.uint64(8 * at)
    return value


@compiled
def word_bits(eight):  # type: ignore[no-untyped-def]
    """Eight bits that say which of eight bytes belong to words: letters, digits, underscore, all from 128 on.

    A sum carries into a byte's high bit exactly when its low seven bits reach a bound.
    """
    low = eight & _LOW_BITS
    letter = low | _CASE_BITS
    letter = (letter + _BYTES * np.uint64(0x1F)) & ~(letter + _BYTES * np.uint64(0x05))
    digit = (low + _BYTES * np.uint64(0x50)) & ~(low + _BYTES * np.uint64(0x46))
    under = ~((low ^ (_BYTES * np.uint64(0x5F))) + _LOW_BITS)
    word = ((letter | digit | under | eight) & _HIGH_BITS) >> np.uint64(7)
    return (word * np.uint64(0x0102040810204080)) >> np.uint64(56)


@compiled
def word_edges(address, length, edges):  # type: ignore[no-untyped-def]
    """Where words begin and end, in turns; returns the number of edges (even)."""
    used = 0
    inside = np.uint64(0)
    for block in range(0, length, 64):
        words = np.uint64(0)
        if block + 64 <= length:
            for at in range(0, 64, 8):
                words |= word_bits(load_eight(address + np.uint64(block + at))) << np.uint64(at)
        else:
            for at in range(0, length - block, 8):
                rest = load_up_to_eight(address + np.uint64(block + at), length - block - at)
                words |= word_bits(rest) << np.uint64(at)
        turns = words ^ (words << np.uint64(1)) ^ inside
        inside = words >> np.uint64(63)
        while turns:
            edges[used] = block + trailing_zeros(turns)
            used += 1
            turns &= turns - np.uint64(1)
    if inside:
        edges[used] = length
        used += 1
    return used


@compiled
def tokenise(address, length, gaps, words, edges, hashes, marks):  # type: ignore[no-untyped-def]
    """Cut transcoded (or ASCII) text into tokens; returns their number.

    Args:
        gaps: uint8 [256], what a byte before a word says of it.
        words: uint16 table over the top WORD_SET_BITS bits of a hash: the hash's low byte, and above it the bit of the
            word's class, FUNCTION or NUMBER_WORD.
        edges: int32 space, at least length + 2 long.
        hashes, marks: uint64 and uint16 space, half as long.
    """
    ends = word_edges(address, length, edges)
    count = 0
    before = 0
    for edge in range(0, ends, 2):
        start, stop = np.int64(edges[edge]), np.int64(edges[edge + 1])
        gap = OPEN if edge == 0 else 0
        for at in range(before, start):
            gap |= gaps[load_byte(address + np.uint64(at))]
        value = _SEED ^ np.uint64(stop - start)
        digits = capitals = first = np.uint64(0)
        for at in range(start, stop, 8):
            eight = load_up_to_eight(address + np.uint64(at), length - at)
            if stop - at < 8:
                eight &= (np.uint64(1) << np.uint64(8 * (stop - at))) - np.uint64(1)
            low = eight & _LOW_BITS
            letter = low | _CASE_BITS
            letter = (letter + _BYTES * np.uint64(0x1F)) & ~(letter + _BYTES * np.uint64(0x05)) & ~eight
            upper = letter & ~(low << np.uint64(2)) & _HIGH_BITS
            digits |= (low + _BYTES * np.uint64(0x50)) & ~(low + _BYTES * np.uint64(0x46)) & ~eight & _HIGH_BITS
            if at == start:
                first = upper & np.uint64(0x80)
                capitals |= upper ^ first
            else:
                capitals |= upper
            value = (value ^ (eight | (upper >> np.uint64(2)))) * _PRIME
            value ^= value >> np.uint64(32)
        # Without branches: what a word looks like cannot be predicted. Bits of `gap` are bits of `mark`.
        mark = gap | CAPITAL * np.int64(first >> np.uint64(7)) | INNER_CAPITAL * np.int64(capitals != 0)
        if digits:
            mark |= NUMBER
            value = _signed(address, start, value)
        value = (value ^ (value >> np.uint64(29))) * _MIX
        value ^= value >> np.uint64(32)
        if digits and count and start == before + 1 and _joins_numbers(address, before):
            # Points and commas between digits belong to the number.
            hashes[count - 1] = (hashes[count - 1] ^ value) * _PRIME
            before = stop
            continue
        before = stop
        listed = np.int64(words[value >> np.uint64(64 - WORD_SET_BITS)])
        mark |= (listed >> 8) * np.int64(listed & 0xFF == np.int64(value & np.uint64(0xFF)))
        mark |= SHORT * np.int64(stop - start < 4)
        hashes[count] = value
        marks[count] = mark
        count += 1
    return count


@compiled
def _joins_numbers(address, at):  # type: ignore[no-untyped-def]
    """Whether the byte is a point or comma between two digits."""
    byte = load_byte(address + np.uint64(at))
    if byte != 46 and byte != 44:
        return False
    before, after = load_byte(address + np.uint64(at - 1)), load_byte(address + np.uint64(at + 1))
    return 48 <= before <= 57 and 48 <= after <= 57


@compiled
def _signed(address, start, value):  # type: ignore[no-untyped-def]
    """Mix an operator before a number into its hash, so that ``3 + 5`` and ``3 - 5`` differ by a number."""
    back = start - 1
    while back >= 0:
        byte = load_byte(address + np.uint64(back))
        if byte != 32 and (byte < 9 or byte > 13):
            if byte == 43 or byte == 45 or byte == 47 or byte == 60 or byte == 62 or byte == 94 or byte == 36:
                value = (value ^ np.uint64(byte)) * _PRIME
            break
        back -= 1
    return value


@compiled
def row_tokens(address, length, tables, scratch, edges, hashes, marks):  # type: ignore[no-untyped-def]
    """Tokens of one row of UTF-8 text; returns their number. `tables` = (gaps, words, fold, pairs, composed)."""
    gaps, words, fold, pairs, composed = tables
    if is_ascii(address, length):
        source, size = address, length
    else:
        size = transcode(address, length, fold, pairs, composed, scratch)
        source = np.uint64(scratch.ctypes.data)
    return tokenise(source, size, gaps, words, edges, hashes, marks)


@compiled
def minhash(tokens, count, a, b, signature):  # type: ignore[no-untyped-def]
    """Datasketch's affine32 MinHash of 32-bit token hashes; an empty set leaves every value at 2**32 - 1."""
    for k in range(len(a)):
        signature[k] = np.uint32(0xFFFFFFFF)
    for index in range(count):
        mixed = tokens[index]
        mixed ^= mixed >> np.uint32(16)
        mixed = np.uint32(mixed * np.uint32(0x85EBCA6B))
        mixed ^= mixed >> np.uint32(13)
        mixed = np.uint32(mixed * np.uint32(0xC2B2AE35))
        mixed ^= mixed >> np.uint32(16)
        for k in range(len(a)):
            value = np.uint32(np.uint32(a[k] * mixed) + b[k])
            if value < signature[k]:
                signature[k] = value


@compiled
def shingles(hashes, marks, count, out):  # type: ignore[no-untyped-def]
    """32-bit shingles that propose candidates: content words, and pairs of neighbouring unspaced characters.

    Function words, words under four letters and numbers are left out, so that rows of one language do not all
    look alike and template variants are proposed; when little is left, every token counts.
    """
    used = 0
    before = np.uint64(0)
    for index in range(count):
        unspaced = np.int64(marks[index]) & UNSPACED
        if unspaced:
            out[used] = np.uint32((hashes[index] ^ (before * _PRIME)) >> np.uint64(32))
            used += before != 0
            before = hashes[index]
        else:
            out[used] = np.uint32(hashes[index] >> np.uint64(32))
            used += marks[index] & (NUMBER | FUNCTION | SHORT) == 0
            before = np.uint64(0)
    if used < MIN_CONTENT:
        used = 0
        for index in range(count):
            out[used] = np.uint32(hashes[index] >> np.uint64(32))
            used += 1
    return used


@compiled
def sketch_rows(addresses, lengths, tables, a, b, band_rows, outputs):  # type: ignore[no-untyped-def]
    """Tokenise and sketch rows.

    Args:
        addresses, lengths: spans of n rows.
        a, b: uint32 [num_perm], the permutations.
        band_rows: signature values a band.
        outputs: (bands uint32 [num_perm // band_rows, n], sequence uint64 [n, 2], masked uint64 [n], tokens int32 [n],
            signatures uint32 [n, num_perm], or [n, 0] to leave them out).
    """
    bands, sequence, masked, tokens, signatures = outputs
    longest = 0
    for row in range(len(lengths)):
        if lengths[row] > longest:
            longest = lengths[row]
    scratch = np.empty(2 * longest + 8, dtype=np.uint8)
    edges = np.empty(2 * longest + 10, dtype=np.int32)
    hashes = np.empty(longest // 2 + 2, dtype=np.uint64)
    marks = np.empty(longest // 2 + 2, dtype=np.uint16)
    chosen = np.empty(longest // 2 + 2, dtype=np.uint32)
    signature = np.empty(len(a), dtype=np.uint32)
    for row in range(len(lengths)):
        count = row_tokens(addresses[row], lengths[row], tables, scratch, edges, hashes, marks)
        low, high, mask = _SEED, _PRIME, _SEED
        for index in range(count):
            low = (low ^ hashes[index]) * _PRIME
            low ^= low >> np.uint64(32)
            high = (high + hashes[index]) * _MIX
            high ^= high >> np.uint64(31)
            shown = NUMBER_MASK if marks[index] & (NUMBER | NUMBER_WORD) else hashes[index]
            mask = (mask ^ shown) * _PRIME
            mask ^= mask >> np.uint64(32)
        sequence[row, 0], sequence[row, 1], masked[row], tokens[row] = low, high, mask, count
        used = shingles(hashes, marks, count, chosen)
        minhash(chosen, used, a, b, signature)
        for k in range(signatures.shape[1]):
            signatures[row, k] = signature[k]
        for band in range(len(bands)):
            key = _SEED
            for k in range(band * band_rows, (band + 1) * band_rows):
                key = (key ^ np.uint64(signature[k])) * _PRIME
                key ^= key >> np.uint64(32)
            bands[band, row] = np.uint32(key)
