"""Exact verification of candidate pairs. Importing this module imports numba.

Two rows are aligned token by token, in order. What the alignment leaves over is read as edits or as
slots: scattered edits of ordinary words make a near-duplicate; another number, another name, another
value on its own line or another passage make a template variant or an unrelated row.
"""

from __future__ import annotations

import numpy as np

from curate.dedup.compiled import compiled, compiled_inner, compiled_part
from curate.dedup.kernel import (
    CAPITAL,
    FUNCTION,
    STRONG,
    SYMBOLS,
    UNSPACED,
    row_tokens,
)
from curate.dedup.kinds import NEAR, NONE, SIMILAR, TEMPLATE
from curate.dedup.memory import load_byte, load_eight
from curate.dedup.regions import (
    LCS_SIDE,
    common_inside,
    content_in,
    context_hash,
    denies,
    recurring,
    region_hash,
    region_is_slot,
)
from curate.dedup.sets import fill_set, locate, table_size
from curate.dedup.spelling import corrected

RUN = 3  # tokens that must agree in a row to resume an alignment
SHORT_ROW = 20  # rows and answers under this many tokens are compared exactly
SHORT_PART = 10  # an answer of so many tokens may be part of another one
FREE_WORDS = 58  # content words may change if the longer row has this many words between spaces,
FREE_TOKENS = 30  # and at least so many of them hold a letter or digit
WORDY_BYTES = 1500  # rows of more bytes are not counted: they have enough words
UNSPACED_SHARE = 0.55  # what a character of an unspaced script counts for, in tokens
PASSAGE = 9  # tokens on both sides, hardly any in common, that make a changed region another passage
PLACES = 32  # changed regions that are remembered, each with its context and what stands there in either row
PLACE = 7  # numbers about each of them
MOST_PLACES = 1024  # changed regions that are looked at for typing errors
MAX_SLOTS = 3  # different slots that still make a template
FEW = 2  # with so few changed regions, a denial or an operator is what tells the rows apart
CUT_TOKENS = 3  # tokens more that the row has that another one was cut off from, perhaps within a word

_PRIME = np.uint64(0x9E3779B97F4A7C15)
_FILL = np.uint64(0x27D4EB2F165667C5)
_V0, _V_SYMBOLS, _V_STRONG = map(np.uint32, (0, SYMBOLS, STRONG))


@compiled_inner
def resume(left, l0, l1, right, r0, r1, budget):  # type: ignore[no-untyped-def]
    """The nearest place after a difference from which RUN tokens agree, or both rows end together.

    Returns (tokens skipped left, tokens skipped right, comparisons left); skips of -1 when there is none in budget.
    """
    rest_left, rest_right = l1 - l0, r1 - r0
    for skipped in range(1, rest_left + rest_right):
        low = skipped - rest_right if skipped > rest_right else 0
        high = skipped if skipped < rest_left else rest_left
        needed = RUN if skipped <= 8 else RUN + 2 if skipped <= 32 else RUN + 5
        budget -= high - low + 1
        if budget < 0:
            break
        for step in range(low, high + 1):
            i, j = l0 + step, r0 + skipped - step
            agreed = 0
            while agreed < needed and i + agreed < l1 and j + agreed < r1 and left[i + agreed] == right[j + agreed]:
                agreed += 1
            if agreed == needed or (agreed > 0 and i + agreed == l1 and j + agreed == r1):
                return step, skipped - step, budget
    return -1, -1, budget


@compiled_inner
def other_operator(one, other):  # type: ignore[no-untyped-def]
    """Whether two tokens stand behind different operators; where only one of them does, it must belong to the token."""
    mine, theirs = one >> _V_SYMBOLS, other >> _V_SYMBOLS
    return mine != theirs and ((mine != _V0 and theirs != _V0) or (one | other) & _V_STRONG != _V0)


@compiled_inner
def marked(marks, count, kind):  # type: ignore[no-untyped-def]
    """How many tokens carry a mark."""
    found = 0
    for index in range(count):
        found += marks[index] & kind != 0
    return found


@compiled_inner
def capitals_tell(marks, count):  # type: ignore[no-untyped-def]
    """Whether a capital says that a word is a name: not where function words have capitals as well."""
    function = both = 0
    for index in range(count):
        function += marks[index] & FUNCTION != 0
        both += marks[index] & (FUNCTION | CAPITAL) == FUNCTION | CAPITAL
    return both < 4 or 10 * both < 9 * function


@compiled_inner
def count_words(address, length):  # type: ignore[no-untyped-def]
    """Words between whitespace, as people count them."""
    words = 0
    apart = True
    for at in range(length):
        space = load_byte(address, at) <= 32
        words += apart and not space
        apart = space
    return words


@compiled_inner
def is_beginning(one, other, length):  # type: ignore[no-untyped-def]
    """Whether two texts begin with the same bytes, so many."""
    at = np.int64(0)
    while at + 8 <= length:
        if load_eight(one, at) != load_eight(other, at):
            return False
        at += 8
    while at < length:
        if load_byte(one, at) != load_byte(other, at):
            return False
        at += 1
    return True


@compiled_inner
def align(left, lm, n, tail, right, rm, m, rowbuf, counts, places):  # type: ignore[no-untyped-def]
    """Walk two rows to their common tail and sort what differs into edits and slots.

    Fills `counts` (tokens matched, edits, slots, edits that touch content, changed regions, edits that deny, tokens
    behind another operator, edits that put content in the place of content, edits that only add at an end) and `places`
    of the first changed regions that fit in (hashes of the context, of what stands there left and right; where it is
    left and right; tokens left and right).
    """
    matched = edits = slots = touched = regions = denied = operators = exchanged = added = 0
    ln, rn = n - tail, m - tail
    budget = 40_000 + 40 * (n + m)
    passage = PASSAGE
    step = 500
    while step < n + m:  # the longer a row, the longer the runs of edits that chance makes
        passage += 1
        step *= 2
    slot_pair = _FILL
    cased = capitals_tell(lm, n) and capitals_tell(rm, m)
    i = j = np.int64(0)
    while i < ln or j < rn:
        if i < ln and j < rn and left[i] == right[j]:
            operators += other_operator(lm[i], rm[j])
            matched += 1
            i += 1
            j += 1
            continue
        step_left, step_right = ln - i, rn - j
        if i < ln and j < rn:
            # The common tail was cut off: the end of the changed middle is a place to resume as well.
            found_left, found_right, budget = resume(left, i, ln, right, j, rn, budget)
            if found_left >= 0:
                step_left, step_right = found_left, found_right
        i1, j1 = i + step_left, j + step_right
        at_end = (i1 == n and j1 == m) or (i == 0 and j == 0)
        least = step_left if step_left < step_right else step_right
        at_tail = n - i1 <= (least if least > 2 else 0) and (edits < 2 or least > 3)
        regions += 1
        common = 0
        if 0 < step_left <= LCS_SIDE and 0 < step_right <= LCS_SIDE:
            common = common_inside(left, i, i1, right, j, j1, rowbuf)
        matched += common
        here, there = region_hash(left, i, i1), region_hash(right, j, j1)
        if regions <= len(places):
            place = places[regions - 1]
            place[0], place[1], place[2] = context_hash(left, i, i1, n), here, there
            place[3], place[4], place[5], place[6] = i, j, step_left, step_right
        if region_is_slot(left, lm, i, i1, right, rm, j, j1, (at_end, at_tail, cased, common, passage)):
            # The same value put in the place of the same other value again is the same slot.
            pair = (here ^ (there * _PRIME)) * _PRIME
            slots += pair != slot_pair
            slot_pair = pair
        else:
            edits += 1
            added += at_end and least == 0
            denied += not (at_end and least == 0) and denies(left, lm, i, i1, right, rm, j, j1)
            touched += least > 0 or content_in(lm, i, i1) or content_in(rm, j, j1)
            exchanged += content_in(lm, i, i1) and content_in(rm, j, j1)
        i, j = i1, j1
    for index in range(ln, n):
        operators += other_operator(lm[index], rm[index - n + m])
    counts[0], counts[1], counts[2], counts[3], counts[4] = matched + tail, edits, slots, touched, regions
    counts[5], counts[6], counts[7], counts[8] = denied, operators, exchanged, added


@compiled_part
def judge(left, lm, n, right, rm, m, size, floor, rowbuf, counts, places):  # type: ignore[no-untyped-def]
    """Align two rows and decide; returns (verdict, similarity), and what `align` leaves in `counts` and `places`.

    Similarity is matched / (n + m - matched): the Jaccard similarity of the aligned token sequences. `size` = (words of
    the longer row, tokens that it must have besides, tokens of the shorter one from which on it may be edited, whether
    these are the answers of two rows, whether one row is the beginning of the other).
    """
    shorter, longer = (n, m) if n < m else (m, n)
    tail = 0
    while tail < shorter and left[n - 1 - tail] == right[m - 1 - tail]:
        tail += 1
    align(left, lm, n, tail, right, rm, m, rowbuf, counts, places)
    matched, edits, slots, touched, regions = counts[0], counts[1], counts[2], counts[3], counts[4]
    if regions <= FEW:
        # Among few edits a denial is no mere edit; where every operator is another one, they are another notation.
        edits -= counts[5]
        slots += counts[5] + (0 < counts[6] <= MAX_SLOTS)
    if slots == 0 and 1 < regions == counts[7] and regions <= PLACES:
        slots = recurring(left, right, m, places, regions)
        edits -= regions if slots else 0
    similarity = matched / (n + m - matched) if n + m else 1.0
    weight = longer - (1.0 - UNSPACED_SHARE) * 0.5 * (marked(lm, n, UNSPACED) + marked(rm, m, UNSPACED))
    words, enough, least, answers, beginning = size
    if beginning and regions == 1 and longer - shorter >= CUT_TOKENS:
        # What the last word was before it was cut says nothing.
        slots, counts[8] = 0, 1
    free = weight >= FREE_WORDS or (words >= FREE_WORDS and weight >= enough)
    if answers and regions == counts[8] and 2 * shorter >= longer:
        # One answer is the other one, cut off or with words around it; what was asked is alike as well.
        floor, least = 0.0, SHORT_PART
    elif answers and shorter < SHORT_ROW:
        floor = 0.5
    if slots == 0 and similarity >= floor and shorter >= least and (free or touched == 0):
        return NEAR, similarity
    content = touched if touched < edits else edits
    if not free:
        slots += content
        edits, content = edits - content, 0
    # Where grammar words alone are added or left out besides, it is the same template.
    if 0 < slots <= MAX_SLOTS and edits <= MAX_SLOTS and content == 0 and 2 * similarity >= 1:
        return TEMPLATE, similarity
    return SIMILAR, similarity


@compiled
def judge_pairs(addresses, lengths, pairs, tables, floor, least, space, outputs):  # type: ignore[no-untyped-def]
    """Verify pairs of rows, sorted by their first row, by aligning their tokens.

    Args:
        addresses: uint64 [n], of the first byte of each row.
        lengths: int64 [n], bytes of each row.
        pairs: int64 [p, 2], rows to compare.
        tables: lookup tables of the tokeniser.
        floor: similarity from which a pair without slots is a near-duplicate; pairs that cannot reach it are given up.
        least: int64 [p], or [0] for whole rows. Otherwise these are the answers of rows that are near-duplicates as
            wholes: the rows have words enough for an edit to be small; tokens from which on an answer may be edited.
        space: working memory for the longest row, of `tables.pair_space`.
        outputs: (verdict uint8 [p], similarity float64 [p], regions int64 [p]: how many regions differ, places uint64
            [p, PLACES, PLACE]: of each region what `align` tells).
    """
    verdict, similarity, regions, places = outputs
    room, left, lm, right, rm, table, _, _, rowbuf, counts, own_room = space
    current, n, stamp = -1, 0, 0
    answers = len(least) > 0
    every = np.empty((MOST_PLACES, PLACE), dtype=np.uint64)
    for index in range(len(pairs)):
        a, b = pairs[index, 0], pairs[index, 1]
        if a != current:
            current, stamp = a, index + 1
            n = row_tokens(addresses[a], lengths[a], tables, own_room, left, lm)
            fill_set(table, left, n, stamp)
        m = row_tokens(addresses[b], lengths[b], tables, room, right, rm)
        common = 0
        size = table_size(n)
        for place in range(m):
            common += table[1][locate(table, right[place], size, stamp)] == stamp
        if common > n:
            common = n
        if common < (min(floor, 0.5) if answers else floor) * (n + m - common):
            verdict[index] = NONE
            continue
        words = FREE_WORDS if answers else 0
        for row in (a, b):
            found = count_words(addresses[row], lengths[row]) if lengths[row] < WORDY_BYTES else FREE_WORDS
            if found > words:
                words = found
        beginning = is_beginning(addresses[a], addresses[b], min(lengths[a], lengths[b]))
        size = (words, 0 if answers else FREE_TOKENS, least[index] if answers else SHORT_ROW, answers, beginning)
        kind, value = judge(left, lm, n, right, rm, m, size, floor, rowbuf, counts, places[index])
        similarity[index], regions[index] = value, counts[4]
        if kind != NEAR and value >= floor:
            # What is the same row but for typing errors is no other one.
            changes = places[index]
            if counts[4] > PLACES:
                changes = every
                judge(left, lm, n, right, rm, m, size, floor, rowbuf, counts, every)
            if corrected(left, lm, right, rm, (own_room, room), changes, min(counts[4], MOST_PLACES)):
                mended, _ = judge(left, lm, n, right, rm, m, size, floor, rowbuf, counts, every)
                kind = NEAR if mended == NEAR else kind
        verdict[index] = NONE if kind == SIMILAR and value < floor else kind
