"""What a changed region of two aligned rows says. Importing this module imports numba."""

from __future__ import annotations

import numpy as np

from curate.dedup.compiled import compiled_inner
from curate.dedup.kernel import (
    CAPITAL,
    CLOSED_SETS,
    FUNCTION,
    INNER_CAPITAL,
    NEGATION,
    NUMBER,
    NUMBER_WORD,
    OPEN,
    UNSPACED,
)

CONTEXT = 3  # tokens before and behind a changed region that tell its place
CLOSE = 8  # tokens of a changed region, both sides together, in which a word stands for its opposite or is denied
ANY = (1 << 32) - 1  # every word, but no character of an unspaced script
LCS_SIDE = 64  # regions up to this many tokens a side are aligned inside, too

# Typed constants: for each plain number that a function is called with, it would be compiled anew.
_NEGATION, _ANY = map(np.int64, (NEGATION, ANY))
_PRIME = np.uint64(0x9E3779B97F4A7C15)
_FILL = np.uint64(0x27D4EB2F165667C5)


@compiled_inner
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


@compiled_inner
def unmatched(left, lm, l0, l1, right, r0, r1, kinds):  # type: ignore[no-untyped-def]
    """How many tokens of some kinds in the left region have no equal in the right one.

    A function word counts only as a denial.
    """
    missing = 0
    for i in range(l0, l1):
        asked = not lm[i] & UNSPACED if kinds == ANY else lm[i] & kinds != 0
        if asked and (not lm[i] & FUNCTION or lm[i] & kinds & NEGATION):
            found = 0
            for j in range(r0, r1):
                found += right[j] == left[i]
            missing += found == 0
    return missing


@compiled_inner
def opposed(left, lm, l0, l1, right, rm, r0, r1):  # type: ignore[no-untyped-def]
    """Whether a word of a closed set stands in the place of another word of the set."""
    for i in range(l0, l1):
        for j in range(r0, r1 if lm[i] & CLOSED_SETS else r0):
            if left[i] != right[j] and (lm[i] ^ rm[j]) & CLOSED_SETS == 0:
                # Neither may stand on the other side as well: words that changed places are an edit.
                kept = 0
                for other in range(r0, r1):
                    kept += right[other] == left[i]
                for other in range(l0, l1):
                    kept += left[other] == right[j]
                if kept == 0:
                    return True
    return False


@compiled_inner
def region_is_slot(left, lm, l0, l1, right, rm, r0, r1, context):  # type: ignore[no-untyped-def]
    """Whether a changed region is another value or another passage (a slot) rather than an edit of the text.

    `context` = (region reaches an end of both rows, both rows' own ends, capitals tell names, tokens common inside,
    tokens that make a passage).
    """
    at_end, at_tail, cased, common, passage = context
    wide, tall = l1 - l0, r1 - r0
    shorter = wide if wide < tall else tall
    if shorter == 0 and (at_end or wide + tall > 12):
        return False  # cut off, put around, or a whole sentence left out
    if shorter > LCS_SIDE:
        return True
    named = (CAPITAL | INNER_CAPITAL) if cased else 0
    for kinds in (NUMBER, named, NUMBER_WORD):
        lost = unmatched(left, lm, l0, l1, right, r0, r1, kinds)
        gained = unmatched(right, rm, r0, r1, left, l0, l1, kinds)
        if (lost and gained) or (kinds == NUMBER and lost + gained):
            return True
    if shorter == 0:
        return False
    if wide + tall <= CLOSE and opposed(left, lm, l0, l1, right, rm, r0, r1):
        return True
    if (shorter >= passage and 5 * common < 2 * shorter) or (2 * shorter >= passage + 1 and 5 * common <= shorter):
        return True
    if at_tail and 5 * common <= 2 * shorter:
        # An answer of its own may begin with the same word or two.
        for back in range(3):
            if back <= l0 and back <= r0 and 2 * back <= shorter and lm[l0 - back] & OPEN and rm[r0 - back] & OPEN:
                return True
    return False


@compiled_inner
def denies(left, lm, l0, l1, right, rm, r0, r1):  # type: ignore[no-untyped-def]
    """Whether all that a small changed region changes is that one side denies ("do not" and "don't" deny on both)."""
    if l1 - l0 + r1 - r0 > CLOSE:
        return False
    lost = unmatched(left, lm, l0, l1, right, r0, r1, _NEGATION)
    gained = unmatched(right, rm, r0, r1, left, l0, l1, _NEGATION)
    every = unmatched(left, lm, l0, l1, right, r0, r1, _ANY) + unmatched(right, rm, r0, r1, left, l0, l1, _ANY)
    return (lost > 0) != (gained > 0) and every <= lost + gained


@compiled_inner
def content_in(marks, start, stop):  # type: ignore[no-untyped-def]
    """Whether a region holds a word that is not a function word."""
    for index in range(start, stop):
        if marks[index] & FUNCTION == 0:
            return True
    return False


@compiled_inner
def region_hash(tokens, start, stop):  # type: ignore[no-untyped-def]
    """Hash of the tokens of a region, in order."""
    value = _FILL
    for index in range(start, stop):
        value = (value ^ tokens[index]) * _PRIME
    return value


@compiled_inner
def context_hash(tokens, start, stop, count):  # type: ignore[no-untyped-def]
    """Hash of the CONTEXT tokens before and behind a region: where it is, whatever stands there."""
    before, behind = max(0, start - CONTEXT), min(count, stop + CONTEXT)
    return region_hash(tokens, before, start) * _PRIME ^ region_hash(tokens, stop, behind)


@compiled_inner
def recurring(left, right, m, places, regions):  # type: ignore[no-untyped-def]
    """How many different replacements there are, if each is made at least twice and wherever it can be; otherwise 0.

    Who fills a template writes the same value wherever the slot is; edits here and there do not repeat themselves.
    """
    different = 0
    for one in range(regions):
        again = earlier = 0
        for other in range(regions):
            if places[one, 1] == places[other, 1] and places[one, 2] == places[other, 2]:
                again += 1
                earlier += other < one
        if again < 2:
            return 0
        different += earlier == 0
        replaced = left[np.int64(places[one, 3])]
        for j in range(m):
            if right[j] == replaced:
                return 0
    return different
