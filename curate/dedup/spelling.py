"""Words that are typing errors of one another. Importing this module imports numba.

Two errors say by themselves that a word is no other word: neighbouring letters that changed places, and a letter
doubled or not. A letter left out, put in or replaced makes a real word of another one far too often.
"""

from __future__ import annotations

import numpy as np

from curate.dedup.compiled import compiled_inner
from curate.dedup.kernel import CLOSED_SETS, FUNCTION, INNER_CAPITAL, NEGATION, NUMBER, NUMBER_WORD, UNSPACED
from curate.dedup.memory import load_byte

LEAST_LETTERS, MOST_LETTERS = 5, 24
"""Shorter words are too often words of another meaning, longer ones no words (sequences, keys)."""
MOST_WORDS = 32
"""Of a changed region, on either side: longer ones are other passages."""
TO_THE_LETTER = NUMBER | UNSPACED
"""Numbers are what they are."""
LISTED = FUNCTION | NUMBER_WORD | NEGATION | CLOSED_SETS
"""Of words that are known to be words: "there" is no "three"."""


@compiled_inner
def opens_letter(address, at):  # type: ignore[no-untyped-def]
    """Whether a byte of UTF-8 text is the first one of a character."""
    return load_byte(address, at) & 0xC0 != 0x80


@compiled_inner
def letters(address, start, stop):  # type: ignore[no-untyped-def]
    """How many characters begin between two places."""
    count = 0
    for at in range(start, stop):
        count += opens_letter(address, at)
    return count


@compiled_inner
def same_bytes(one, first, other, second, size):  # type: ignore[no-untyped-def]
    """Whether so many bytes are the same."""
    for at in range(size):
        if load_byte(one, first + at) != load_byte(other, second + at):
            return False
    return True


@compiled_inner
def letters_exchanged(one, first, other, second, size):  # type: ignore[no-untyped-def]
    """Whether two words of the same size differ in two neighbouring letters that changed places inside the word."""
    begin = 0
    while begin < size and load_byte(one, first + begin) == load_byte(other, second + begin):
        begin += 1
    while begin > 0 and begin < size and not opens_letter(one, first + begin):
        begin -= 1
    end = size
    while end > begin and load_byte(one, first + end - 1) == load_byte(other, second + end - 1):
        end -= 1
    while end < size and not opens_letter(one, first + end):
        end += 1
    if begin == 0 or end == size or letters(one, first + begin, first + end) != 2:
        return False
    step = 1
    while not opens_letter(one, first + begin + step):
        step += 1
    rest = end - begin - step
    return same_bytes(one, first + begin, other, second + begin + rest, step) and same_bytes(
        one, first + begin + step, other, second + begin, rest
    )


@compiled_inner
def letter_doubled(one, first, size, other, second, more):  # type: ignore[no-untyped-def]
    """Whether the second word is the first one with a letter doubled, which takes `more` bytes."""
    begin = 0
    while begin < size and load_byte(one, first + begin) == load_byte(other, second + begin):
        begin += 1
    return (
        begin >= more
        and letters(other, second + begin, second + begin + more) == 1
        and same_bytes(other, second + begin - more, other, second + begin, more)
        and same_bytes(one, first + begin, other, second + begin + more, size - begin)
    )


@compiled_inner
def word_at(room, token):  # type: ignore[no-untyped-def]
    """(first byte, bytes) of a token in the text that was cut last in a `tables.token_room`."""
    start, stop = np.int64(room[1][2 * token]), np.int64(room[1][2 * token + 1])
    return start, stop - start


@compiled_inner
def is_misspelt(one, word, other, another, named):  # type: ignore[no-untyped-def]
    """Whether one of two words, (first byte, bytes) in the text at an address each, is the other one mistyped.

    In words in capitals and identifiers (`named`), which may be codes, a letter more says that it is another one.
    """
    (first, size), (second, length) = word, another
    if load_byte(one, first) != load_byte(other, second) or abs(size - length) > 4:
        return False
    for count in (letters(one, first, first + size), letters(other, second, second + length)):
        if count < LEAST_LETTERS or count > MOST_LETTERS:
            return False
    if size == length:
        return letters_exchanged(one, first, other, second, size)
    if named:
        return False
    if size < length:
        return letter_doubled(one, first, size, other, second, length - size)
    return letter_doubled(other, second, length, one, first, size - length)


@compiled_inner
def corrected(left, lm, right, rm, rooms, places, regions):  # type: ignore[no-untyped-def]
    """Put in the place of each word of the right row that is mistyped in one of both the word of the left row.

    Args:
        left: tokens of the left row.
        lm: their marks.
        right: tokens of the right row; changed.
        rm: their marks; changed.
        rooms: (left, right) of `tables.token_room`, in which these rows were the last to be cut into tokens.
        places: of the changed regions, as `verify.align` tells.
        regions: how many there are.

    Returns:
        how many words were put in.
    """
    one, other = np.uint64(rooms[0][0].ctypes.data), np.uint64(rooms[1][0].ctypes.data)
    changed = 0
    for region in range(regions):
        l0, r0 = np.int64(places[region, 3]), np.int64(places[region, 4])
        l1, r1 = l0 + np.int64(places[region, 5]), r0 + np.int64(places[region, 6])
        if l1 - l0 > MOST_WORDS or r1 - r0 > MOST_WORDS:
            continue
        for j in range(r0, r1):
            for i in range(l0, l1):
                if (lm[i] | rm[j]) & TO_THE_LETTER or (lm[i] & LISTED and rm[j] & LISTED):
                    continue
                named = (lm[i] | rm[j]) & INNER_CAPITAL != 0
                if is_misspelt(one, word_at(rooms[0], i), other, word_at(rooms[1], j), named):
                    right[j] = left[i]
                    rm[j] = rm[j] & ~LISTED | lm[i] & LISTED
                    changed += 1
                    break
    return changed
