"""Exact verification of candidate pairs. Importing this module imports numba.

Two rows are aligned token by token, in order. What the alignment leaves over is read as edits or as
slots: scattered edits of ordinary words make a near-duplicate; another number, another name, another
value on its own line or another passage make a template variant or an unrelated row.
"""

from __future__ import annotations

import numpy as np

from curate.dedup.compiled import compiled
from curate.dedup.kernel import (
    CAPITAL,
    FUNCTION,
    INNER_CAPITAL,
    NUMBER,
    NUMBER_WORD,
    OPEN,
    UNSPACED,
    load_byte,
    row_tokens,
)

# Verdicts, in the order of their strength. The first three may drop a row.
EXACT, NORMALISED, NEAR, TEMPLATE, OTHER_ANSWER, SIMILAR, NONE = range(7)

RUN = 3  # tokens that must agree in a row to resume an alignment
SHORT_ROW = 20  # rows under this many tokens are compared exactly
FREE_WORDS = 58  # content words may change if the longer row has this many words between spaces,
FREE_TOKENS = 30  # and at least so many of them hold a letter or digit
WORDY_BYTES = 1500  # rows of more bytes are not counted: they have enough words
UNSPACED_SHARE = 0.55  # what a character of an unspaced script counts for, in tokens
PASSAGE = 9  # tokens on both sides, hardly any in common, that make a changed region another passage
MAX_SLOTS = 3  # different slots that still make a template
LCS_SIDE = 64  # regions up to this many tokens a side are aligned inside, too

_PRIME = np.uint64(0x9E3779B97F4A7C15)


@compiled
def common_inside(left, l0, l1, right, r0, r1, rowbuf):  # type: ignore[no-untyped-def]
    """Length of the longest common subsequence of two small token regions."""
    width = r1 - r0
    for j in range(width + 1):
        rowbuf[j] = 0
    for i in range(l0, l1):
        diagonal = 0
        for j in range(width):
            above = rowbuf[j + 1]
            if left[i] == right[r0 + j]:
                rowbuf[j + 1] = diagonal + 1
            elif rowbuf[j] > above:
                rowbuf[j + 1] = rowbuf[j]
            diagonal = above
    return rowbuf[width]


@compiled
def resume(left, l0, l1, right, r0, r1, budget):  # type: ignore[no-untyped-def]
    """The nearest place after a difference from which RUN tokens agree, or both rows end together.

    Returns (tokens skipped left, tokens skipped right, comparisons left); skips of -1 when there is none in budget.
    """
    rest_left, rest_right = l1 - l0, r1 - r0
    for skipped in range(1, rest_left + rest_right):
        low = max(0, skipped - rest_right)
        high = min(skipped, rest_left)
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


@compiled
def unmatched(left, lm, l0, l1, right, r0, r1, kinds, without):  # type: ignore[no-untyped-def]
    """How many tokens of some kinds in the left region have no equal in the right one."""
    missing = 0
    for i in range(l0, l1):
        if lm[i] & kinds and not lm[i] & without:
            found = 0
            for j in range(r0, r1):
                found += right[j] == left[i]
            missing += found == 0
    return missing


@compiled
def region_is_slot(left, lm, l0, l1, right, rm, r0, r1, context):  # type: ignore[no-untyped-def]
    """Whether a changed region is another value or another passage (a slot) rather than an edit of the text.

    `context` = (region reaches an end of both rows, both rows' own ends, capitals tell names, tokens common inside,
    tokens that make a passage).
    """
    at_end, at_tail, cased, common, passage = context
    wide, tall = l1 - l0, r1 - r0
    shorter = min(wide, tall)
    if shorter == 0 and (at_end or wide + tall > 12):
        return False  # cut off, put around, or a whole sentence left out
    if shorter > LCS_SIDE:
        return True
    lost = unmatched(left, lm, l0, l1, right, r0, r1, NUMBER, 0)
    gained = unmatched(right, rm, r0, r1, left, l0, l1, NUMBER, 0)
    if lost or gained:
        return True
    if shorter == 0:
        return False
    if (shorter >= passage and 5 * common < 2 * shorter) or (2 * shorter >= passage + 1 and 5 * common <= shorter):
        return True
    named = (CAPITAL | INNER_CAPITAL) if cased else 0
    for kinds in (named, NUMBER_WORD):
        lost = unmatched(left, lm, l0, l1, right, r0, r1, kinds, FUNCTION)
        gained = unmatched(right, rm, r0, r1, left, l0, l1, kinds, FUNCTION)
        if lost and gained:
            return True
    if at_tail and 5 * common <= 2 * shorter:
        # An answer of its own may begin with the same word or two.
        for back in range(min(2, shorter // 2, l0, r0) + 1):
            if lm[l0 - back] & OPEN and rm[r0 - back] & OPEN:
                return True
    return False


@compiled
def content_in(marks, start, stop):  # type: ignore[no-untyped-def]
    """Whether a region holds a word that is not a function word."""
    for index in range(start, stop):
        if marks[index] & FUNCTION == 0:
            return True
    return False


@compiled
def marked(marks, count, kind):  # type: ignore[no-untyped-def]
    """How many tokens carry a mark."""
    found = 0
    for index in range(count):
        found += marks[index] & kind != 0
    return found


@compiled
def capitals_tell(marks, count):  # type: ignore[no-untyped-def]
    """Whether a capital says that a word is a name: not where function words have capitals as well."""
    function = both = 0
    for index in range(count):
        function += marks[index] & FUNCTION != 0
        both += marks[index] & (FUNCTION | CAPITAL) == FUNCTION | CAPITAL
    return both < 4 or 10 * both < 9 * function


@compiled
def count_words(address, length):  # type: ignore[no-untyped-def]
    """Words between whitespace, as people count them."""
    words = 0
    apart = True
    for at in range(length):
        space = load_byte(address + np.uint64(at)) <= 32
        words += apart and not space
        apart = space
    return words


@compiled
def judge(left, lm, n, right, rm, m, words, threshold, rowbuf):  # type: ignore[no-untyped-def]
    """Align two rows and decide; returns (verdict, similarity, slot key, left filler, right filler).

    Similarity is matched / (n + m - matched): the Jaccard similarity of the aligned token sequences. The slot key
    hashes the text outside a few changed regions, the fillers what stands in them; 0 when not applicable.
    """
    matched = edits = slots = touched = regions = 0
    tail = 0
    while tail < min(n, m) and left[n - 1 - tail] == right[m - 1 - tail]:
        tail += 1
    ln, rn = n - tail, m - tail
    budget = 40_000 + 40 * (n + m)
    passage = PASSAGE + np.int64(np.log2(1.0 + (n + m) / 200.0) * 2.0)
    key = left_filler = right_filler = slot_pair = np.uint64(0x27D4EB2F165667C5)
    cased = capitals_tell(lm, n) and capitals_tell(rm, m)
    i = j = np.int64(0)
    while i < ln or j < rn:
        if i < ln and j < rn and left[i] == right[j]:
            key = (key ^ left[i]) * _PRIME
            key ^= key >> np.uint64(32)
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
        shorter = min(step_left, step_right)
        at_tail = n - i1 <= (shorter if shorter > 2 else 0) and (edits < 2 or shorter > 3)
        regions += 1
        common = 0
        if 0 < step_left <= LCS_SIDE and 0 < step_right <= LCS_SIDE:
            common = common_inside(left, i, i1, right, j, j1, rowbuf)
        matched += common
        context = (at_end, at_tail, cased, common, passage)
        if region_is_slot(left, lm, i, i1, right, rm, j, j1, context):
            pair = np.uint64(0)
            for index in range(i, i1):
                pair = (pair + left[index]) * _PRIME
            for index in range(j, j1):
                pair = (pair ^ right[index]) * _PRIME
            slots += 1 if pair != slot_pair else 0
            slot_pair = pair
        else:
            edits += 1
            touched += min(step_left, step_right) > 0 or content_in(lm, i, i1) or content_in(rm, j, j1)
        for index in range(i, i1):
            left_filler = (left_filler ^ left[index]) * _PRIME
        for index in range(j, j1):
            right_filler = (right_filler ^ right[index]) * _PRIME
        key = (key + np.uint64(77)) * _PRIME
        i, j = i1, j1
    for index in range(ln, n):
        key = (key ^ left[index]) * _PRIME
        key ^= key >> np.uint64(32)
    matched += tail
    similarity = matched / max(1, n + m - matched)
    if regions > 4 or regions == 0:
        key = np.uint64(0)
    shorter = min(n, m)
    weight = max(n, m) - (1.0 - UNSPACED_SHARE) * max(marked(lm, n, UNSPACED), marked(rm, m, UNSPACED))
    free = weight >= FREE_WORDS or (words >= FREE_WORDS and weight >= FREE_TOKENS)
    if slots == 0 and similarity >= threshold and shorter >= SHORT_ROW and (free or touched == 0):
        return NEAR, similarity, key, left_filler, right_filler
    if not free:
        slots += touched
        edits -= touched
    if 0 < slots <= MAX_SLOTS and edits == 0 and 2 * matched >= max(n, m):
        return TEMPLATE, similarity, key, left_filler, right_filler
    return SIMILAR, similarity, key, left_filler, right_filler


@compiled
def table_size(count):  # type: ignore[no-untyped-def]
    """A power of two with room for twice as many entries."""
    size = 16
    while size < 2 * count:
        size *= 2
    return size


@compiled
def locate(table, token, size, stamp):  # type: ignore[no-untyped-def]
    """Where a hash is, or would be put, in an open-addressed table whose valid entries carry the stamp."""
    place = np.int64(token >> np.uint64(20)) & (size - 1)
    while table[1][place] == stamp and table[0][place] != token:
        place = (place + 1) & (size - 1)
    return place


@compiled
def fill_set(table, tokens, count, stamp):  # type: ignore[no-untyped-def]
    """Start a set of hashes in a table; returns how many are distinct."""
    size = table_size(count)
    distinct = 0
    for index in range(count):
        place = locate(table, tokens[index], size, stamp)
        if table[1][place] != stamp:
            table[1][place] = stamp
            table[0][place] = tokens[index]
            distinct += 1
    return distinct


@compiled
def make_grams(hashes, count, width):  # type: ignore[no-untyped-def]
    """Replace token hashes by hashes of `width` neighbouring tokens, in place; returns their number."""
    if count < width:
        width = max(1, count)
    for index in range(count - width + 1):
        value = hashes[index]
        for step in range(1, width):
            value = (value ^ (value >> np.uint64(29))) * _PRIME + hashes[index + step]
        hashes[index] = (value ^ (value >> np.uint64(32))) * _PRIME
    return count - width + 1 if count else 0


@compiled
def set_similarity(table, size, stamp, distinct, spare, tokens, count, own_stamp):  # type: ignore[no-untyped-def]
    """Exact Jaccard similarity of the set in `table` and the set of some hashes."""
    own_size = table_size(count)
    other = shared = 0
    for index in range(count):
        place = locate(spare, tokens[index], own_size, own_stamp)
        if spare[1][place] != own_stamp:
            spare[1][place] = own_stamp
            spare[0][place] = tokens[index]
            other += 1
            shared += table[1][locate(table, tokens[index], size, stamp)] == stamp
    return shared / max(1, distinct + other - shared)


@compiled
def judge_pairs(addresses, lengths, pairs, tables, gram, threshold, floor, outputs):  # type: ignore[no-untyped-def]
    """Verify pairs of rows, sorted by their first row.

    Args:
        addresses, lengths: spans of all rows.
        pairs: int64 [p, 2], rows to compare.
        tables: lookup tables of the tokeniser.
        gram: 0 for token alignment, or the shingle width of a plain Jaccard decision.
        threshold: similarity from which a pair is a near-duplicate.
        floor: pairs that cannot reach this similarity are given up early.
        outputs: (verdict uint8 [p], similarity float32 [p], slots uint64 [p, 3]: key, left and right filler).
    """
    verdict, similarity, slots = outputs
    longest = 2
    for index in range(len(pairs)):
        longest = max(longest, lengths[pairs[index, 0]], lengths[pairs[index, 1]])
    scratch = np.empty(2 * longest + 8, dtype=np.uint8)
    edges = np.empty(2 * longest + 10, dtype=np.int32)
    left = np.empty(longest // 2 + 2, dtype=np.uint64)
    right = np.empty(longest // 2 + 2, dtype=np.uint64)
    lm = np.empty(longest // 2 + 2, dtype=np.uint16)
    rm = np.empty(longest // 2 + 2, dtype=np.uint16)
    rowbuf = np.empty(LCS_SIDE + 1, dtype=np.int64)
    size = table_size(longest // 2 + 2)
    table = (np.zeros(size, dtype=np.uint64), np.zeros(size, dtype=np.int64))
    spare = (np.zeros(size, dtype=np.uint64), np.zeros(size, dtype=np.int64))
    current, n, distinct, stamp = -1, 0, 0, 0
    for index in range(len(pairs)):
        a, b = pairs[index, 0], pairs[index, 1]
        if a != current:
            current, stamp = a, index + 1
            n = row_tokens(addresses[a], lengths[a], tables, scratch, edges, left, lm)
            if gram:
                n = make_grams(left, n, gram)
            distinct = fill_set(table, left, n, stamp)
        m = row_tokens(addresses[b], lengths[b], tables, scratch, edges, right, rm)
        if gram:
            m = make_grams(right, m, gram)
            value = set_similarity(table, table_size(n), stamp, distinct, spare, right, m, index + 1)
            similarity[index] = value
            verdict[index] = NEAR if value >= threshold and m > 0 else SIMILAR if value >= floor else NONE
            continue
        common = 0
        for place in range(m):
            common += table[1][locate(table, right[place], table_size(n), stamp)] == stamp
        common = min(common, n)
        if common < floor * (n + m - common):
            verdict[index] = NONE
            continue
        words = 0
        for row in (a, b):
            words = max(words, count_words(addresses[row], lengths[row]) if lengths[row] < WORDY_BYTES else FREE_WORDS)
        kind, value, key, fill_left, fill_right = judge(left, lm, n, right, rm, m, words, threshold, rowbuf)
        similarity[index] = value
        verdict[index] = NONE if kind == SIMILAR and value < floor else kind
        slots[index, 0], slots[index, 1], slots[index, 2] = key, fill_left, fill_right
