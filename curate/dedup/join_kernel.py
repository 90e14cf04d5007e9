"""The compiled part of the split proof: sets of word pairs, and the rows that share enough of them.

Importing this module imports numba. Nothing here comes from the duplicate search; only the decorator that compiles
and the reading of bytes at an address are the same.
"""

from __future__ import annotations

import numpy as np

from curate.dedup import word_classes as _w
from curate.dedup.compiled import compiled, compiled_inner
from curate.dedup.memory import load_byte, load_eight

TOLERANCE = 1e-9
"""A similarity that is lower than a threshold by no more than this reaches it."""
ROUNDING = 1e-6
"""Elements by which a bound on a number of elements is lowered, so that rounding never raises it by one."""
CLASSES = 34  # of counts: how many bits they take, and one to begin with

_HAD, _HAD_AND_LISTED = np.uint64(1), np.uint64(3)

_CODE, _IN_WORD, _ALONE, _UNSTABLE = map(np.uint32, (_w.CODE_MASK, _w.IN_WORD, _w.ALONE, _w.UNSTABLE))
_COMBINING = np.uint32(_w.COMBINING_SHIFT)
_TABLE_SIZE, _IDEOGRAPHS_END, _COMPATIBLE, _COMPATIBLE_END = map(
    np.uint32, (_w.TABLE_SIZE, _w.IDEOGRAPHS_END, _w.COMPATIBLE, _w.COMPATIBLE_END)
)
_HIGH_BITS = np.uint64(0x8080808080808080)
_PRIME, _MIX = np.uint64(0x9FB21C651E98DF25), np.uint64(0xD6E8FEB86659FD93)  # odd, of well mixed bits
_SEED, _SINGLE = np.uint64(0x243F6A8885A308D3), np.uint64(0x13198A2E03707344)  # digits of pi
_LAST_32 = np.uint64(0xFFFFFFFF)
_U0, _U1, _U2, _U5, _U28, _U31, _U32 = map(np.uint64, (0, 1, 2, 5, 28, 31, 32))
_V0, _V6, _V63 = map(np.uint32, (0, 6, 63))


@compiled_inner
def code_point(address, at, first):  # type: ignore[no-untyped-def]
    """(the character beyond ASCII that begins at a place, the place behind it)."""
    size = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    code = first & np.uint32(0xFF >> (size + 1))
    for step in range(1, size):
        code = (code << _V6) | (np.uint32(load_byte(address, at + step)) & _V63)
    return code, at + size


@compiled_inner
def class_of(code, classes):  # type: ignore[no-untyped-def]
    """The entry of any character."""
    if code < _TABLE_SIZE:
        return classes[code]
    if code >= _IDEOGRAPHS_END:
        return _V0
    changes = _UNSTABLE if _COMPATIBLE <= code < _COMPATIBLE_END else _V0
    return code | _IN_WORD | _ALONE | changes


@compiled
def find_unstable(addresses, lengths, classes, unstable):  # type: ignore[no-untyped-def]
    """Mark the rows whose words are those of another text, the NFKC of theirs; returns their number.

    Args:
        addresses: uint64 [n], of the first byte of each row.
        lengths: int64 [n], bytes of each row.
        classes: of `word_classes`.
        unstable: bool [n], output.
    """
    found = 0
    for row in range(len(addresses)):
        address, length = addresses[row], lengths[row]
        at, before = np.int64(0), _V0
        unstable[row] = False
        while at < length:
            if at + 8 <= length and not load_eight(address, at) & _HIGH_BITS:
                at += 8
                before = _V0
                continue
            first = np.uint32(load_byte(address, at))
            if first < 0x80:
                at += 1
                before = _V0
                continue
            code, at = code_point(address, at, first)
            entry = class_of(code, classes)
            combining = entry >> _COMBINING
            # Marks in another order than the standard's are put in order.
            if entry & _UNSTABLE or (combining and combining < before):
                unstable[row] = True
                found += 1
                break
            before = combining
    return found


@compiled_inner
def mixed(value, code):  # type: ignore[no-untyped-def]
    """A hash of what came before and what comes next."""
    value = (value ^ code) * _PRIME
    return value ^ value >> _U32


@compiled_inner
def ended(word, before, pairs, begin, words):  # type: ignore[no-untyped-def]
    """End a word: write its pair with the word before; returns (the word's hash, words of the row so far)."""
    word = (word ^ word >> _U28) * _MIX
    # Nothing stands before the first word: what is written in its pair's place is written over.
    pair = mixed(before * _PRIME, word) * _MIX
    pairs[begin + words - (words > 0)] = pair ^ pair >> _U32 | _U1
    return word, words + 1


@compiled_inner
def word_pairs(address, length, classes, pairs, begin):  # type: ignore[no-untyped-def]
    """Hashes of the neighbouring pairs of words in a row, in order and with repetitions, from a place of `pairs` on.

    Returns their number. One word without a neighbour counts as a pair. No hash is zero.
    """
    words = 0
    before, word = _SEED, _SEED
    inside = False
    at = np.int64(0)
    while at < length:
        code = np.uint32(load_byte(address, at))
        if code < 0x80:
            at += 1
        else:
            code, at = code_point(address, at, code)
        entry = class_of(code, classes)
        alone = entry & _ALONE != 0
        if entry & _IN_WORD and not alone:
            word = mixed(word, np.uint64(entry & _CODE))
            inside = True
            continue
        if inside:
            before, words = ended(word, before, pairs, begin, words)
            word = _SEED
            inside = False
        if alone:
            before, words = ended(mixed(_SEED, np.uint64(entry & _CODE)), before, pairs, begin, words)
    if inside:
        before, words = ended(word, before, pairs, begin, words)
    if words == 1:
        pairs[begin] = mixed(_SINGLE, before) * _MIX | _U1
    return words - (words > 1)


@compiled_inner
def cleared(table, count):  # type: ignore[no-untyped-def]
    """Clear what a hash table of some elements takes, a power of two of at least twice as many; returns its mask."""
    size = 8
    while size < 2 * count:
        size *= 2
    for at in range(size):
        table[at] = _U0
    return np.uint64(size - 1)


@compiled_inner
def place_of(value, table, mask):  # type: ignore[no-untyped-def]
    """Where an element is in a hash table, or the free place (a zero) where it belongs."""
    place = value & mask
    while table[place] and table[place] != value:
        place = (place + _U1) & mask
    return place


@compiled
def make_sets(addresses, lengths, classes, table, sizes, values):  # type: ignore[no-untyped-def]
    """Write the sets of some rows one behind the other; returns the number of elements.

    Args:
        addresses: of the rows, as in `find_unstable`.
        lengths: of the rows, as there.
        classes: of `word_classes`.
        table: uint64, working memory, of at least 8 and four times the words of the longest row.
        sizes: int64 [n], output, elements of each set.
        values: uint64 output, elements in the order in which the row has them; room for every word of every row.
    """
    used = np.int64(0)
    for row in range(len(addresses)):
        count = word_pairs(addresses[row], lengths[row], classes, values, used)
        mask = cleared(table, count)
        begin = used
        for index in range(begin, begin + count):
            value = values[index]
            place = place_of(value, table, mask)
            if not table[place]:
                table[place] = value
                values[used] = value
                used += 1
        sizes[row] = used - begin
    return used


@compiled
def rarest_first(begins, sizes, values, counts, shift, room):  # type: ignore[no-untyped-def]
    """Bring the elements of each set into the order of how often any set has them, in powers of two.

    Args:
        begins: int64 [n], where each set begins in `values`.
        sizes: int64 [n], its elements.
        values: uint64, changed in place.
        counts: uint32, zeros; elements with the same first 64 - `shift` bits are counted together.
        shift: uint64.
        room: (uint64, uint8) for the largest set and int64 [CLASSES], working memory.
    """
    for at in range(len(values)):
        counts[values[at] >> shift] += np.uint32(1)
    spare, bits, places = room
    for row in range(len(sizes)):
        begin, size = begins[row], sizes[row]
        for index in range(len(places)):
            places[index] = 0
        for index in range(size):
            spare[index] = values[begin + index]
            count, needed = counts[spare[index] >> shift], 0
            while count:
                count >>= np.uint32(1)
                needed += 1
            bits[index] = needed
            places[needed + 1] += 1
        for index in range(1, len(places)):
            places[index] += places[index - 1]
        for index in range(size):
            values[begin + places[bits[index]]] = spare[index]
            places[bits[index]] += 1


@compiled
def post(begins, sizes, keep, values, lists, marked):  # type: ignore[no-untyped-def]
    """List the first elements of each set by their first bits, and mark what any set has.

    Args:
        begins: int64 [n], where each set begins in `values`.
        sizes: int64 [n], its elements.
        keep: int64 [n], how many of them are listed.
        values: uint64.
        lists: (shift, starts, posted). Elements with the same first 64 - shift bits are in one list. starts: uint64
            [lists + 2], zeros; at the end, list i is starts[i]:starts[i + 1]. posted: uint64, output, the last 32 bits
            of an element and the number of its set, which ascends in a list.
        marked: (shift, marks). marks: uint64, zeros; at the end, for each number of 64 - shift bits, two bits: whether
            an element of any set begins with it, and one that is listed.
    """
    shift, starts, posted = lists
    mark_shift, marks = marked
    for row in range(len(keep)):
        for index in range(sizes[row]):
            value = values[begins[row] + index]
            part = value >> mark_shift
            listed = index < keep[row]
            marks[part >> _U5] |= (_HAD_AND_LISTED if listed else _HAD) << (part & _U31) * _U2
            starts[(value >> shift) + _U2] += np.uint64(listed)
    for index in range(1, len(starts)):
        starts[index] += starts[index - 1]
    for row in range(len(keep)):
        for at in range(begins[row], begins[row] + keep[row]):
            place = (values[at] >> shift) + _U1
            posted[starts[place]] = values[at] << _U32 | np.uint64(row)
            starts[place] += _U1


@compiled_inner
def shared(values, begin, size, table, mask, least):  # type: ignore[no-untyped-def]
    """Elements of a set that are in a hash table; something less than `least` when they are fewer than that."""
    found = 0
    for index in range(size):
        value = values[begin + index]
        found += table[place_of(value, table, mask)] == value
        if found + size - 1 - index < least:
            break
    return found


@compiled_inner
def meet(elements, begin, size, least, index, table, met, counts):  # type: ignore[no-untyped-def]
    """Collect the indexed sets of which a row has listed elements, in `met`, and how many, in `counts`.

    Returns the number of sets; none when fewer than `least` elements of the row are in any indexed set.
    """
    (shift, starts, posted), (mark_shift, marks) = index
    # Step by step, so that no guess about what memory holds makes the processor wait for it.
    known = _U0
    listed = _U0
    for at in range(begin, begin + size):
        part = elements[at] >> mark_shift
        found = marks[part >> _U5] >> (part & _U31) * _U2
        table[listed] = elements[at]
        known += found & _U1
        listed += found >> _U1 & _U1
    if known < least:
        return 0
    for place in range(listed):
        table[listed + place] = starts[table[place] >> shift]
    seen = 0
    for place in range(listed):
        value = table[place]
        for at in range(table[listed + place], starts[(value >> shift) + _U1]):
            if posted[at] >> _U32 == value & _LAST_32:
                other = posted[at] & _LAST_32
                if not counts[other]:
                    met[seen] = other
                    seen += 1
                counts[other] += 1
    return seen


@compiled
def join_rows(rows, index, held, asked, room, outputs):  # type: ignore[no-untyped-def]
    """Find the indexed rows of other splits that are as alike as both rows' thresholds ask.

    Args:
        rows: (first row to do, begins, sizes, row numbers, elements), arrays [n] but for the elements:
            `elements[begins[i] : begins[i] + sizes[i]]` is the set of row i.
        index: (lists, marked) of `post`, for the indexed rows.
        held: (begins, sizes, row numbers, elements, needed) of the indexed rows, all those outside split 0 [m]. A row
            shares at least `needed` of the listed elements with every row alike.
        asked: (threshold, split) by row number.
        room: (table, met, counts), working memory: uint64 of `make_sets`, two int64 [m], zeros at last.
        outputs: (row number, indexed row's number, similarity), each of at least m elements.

    Returns:
        (pairs found, the row to go on with: the outputs may not hold another row's pairs).
    """
    first, row_begins, row_sizes, numbers, elements = rows
    begins, sizes, held_numbers, values, needed = held
    thresholds, splits = asked
    table, met, counts = room
    found, twins, similarities = outputs
    used = 0
    for row in range(first, len(row_sizes)):
        if used + len(sizes) > len(found):
            return used, row
        begin, size, number = row_begins[row], row_sizes[row], numbers[row]
        # With any row that is alike, the row shares that much of its own elements.
        least = (thresholds[number] - TOLERANCE) * size - ROUNDING
        seen = meet(elements, begin, size, least, index, table, met, counts)
        mask = _U0  # of an empty table
        for place in range(seen):
            other = met[place]
            hits, counts[other] = counts[other], 0
            twin = held_numbers[other]
            # Two indexed rows meet twice.
            if hits < needed[other] or splits[twin] == splits[number] or (splits[number] and twin < number):
                continue
            mine, theirs = thresholds[number], thresholds[twin]
            least = (mine if mine > theirs else theirs) - TOLERANCE
            both = size + sizes[other]
            enough = least * both / (1.0 + least) - ROUNDING
            if size < enough or sizes[other] < enough:
                continue
            if not mask:
                mask = cleared(table, size)
                for at in range(begin, begin + size):
                    table[place_of(elements[at], table, mask)] = elements[at]
            common = shared(values, begins[other], sizes[other], table, mask, enough)
            similarity = common / (both - common)
            if similarity >= least:
                found[used] = number
                twins[used] = twin
                similarities[used] = similarity
                used += 1
    return used, len(row_sizes)
