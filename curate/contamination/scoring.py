"""Compiled: how much of a segment of an eval item a text holds. Importing this module imports numba.

Runs of words only say where to look. There the words of the segment are aligned with those of the text: the longest
common sequence of pairs of neighbouring words, first as they are, with any number standing for any other as second
best. Words that edits on both sides have isolated are taken in where they stand next to aligned ones.
"""

from __future__ import annotations

import numpy as np

from curate.contamination.kernel import cut_words, print_of, sip_pair
from curate.dedup.compiled import compiled, compiled_inner

SLACK_WORDS = 20
"""A text may spread a segment over twice its words and these."""
MAX_CELLS = 1 << 21
"""Words of the segment times words of the text beyond which only runs are compared."""
SAME, NUMBERS, FOLLOWS = 6, 4, 3
"""What an aligned word is worth: equal, or equal but for numbers; and what it is worth that the next words follow in
both, so that of two places for the same words the one in their midst is taken."""
NEAR = 3
"""Words between an isolated word and an aligned one."""
EXACT, MASKED, COVERAGE, LONGEST, GAP, HOLE, EDGE, MISSING, CHANGED, START, STOP, WORDS = range(12)
HOLE_WORDS = 8
"""Words in a row among which those that are not there are counted."""


@compiled_inner
def densest(text_place, first, end, reach):  # type: ignore[no-untyped-def]
    """The hits (from, to) of the stretch of a text of `reach` words that holds most of the hits first to end."""
    best_from, best_to, low = first, first, first
    for high in range(first, end):
        while text_place[high] - text_place[low] > reach:
            low += 1
        if high - low > best_to - best_from:
            best_from, best_to = low, high
    return best_from, best_to


@compiled_inner
def compare_words(segment, window, key, cells):  # type: ignore[no-untyped-def]
    """For each word of a segment and each of a text: SAME, NUMBERS if only both hold digits, else 0.

    Args:
        segment: (prints, numbers, salt) of its words.
        window: (hashes, numbers) of the text's words.
        key: uint64 [2].
        cells: uint8 [segment words, text words], filled.
    """
    prints, seg_numbers, salt = segment
    hashes, numbers = window
    secrets = np.empty(len(hashes), np.uint64)
    for at in range(len(hashes)):
        secrets[at] = sip_pair(salt, hashes[at], key)
    for row in range(len(prints)):
        place = sip_pair(~salt, np.uint64(row), key)
        for at in range(len(hashes)):
            same = print_of(secrets[at], place) == prints[row]
            cells[row, at] = SAME if same else NUMBERS if seg_numbers[row] and numbers[at] else 0


@compiled_inner
def pair_worth(cells, row, at):  # type: ignore[no-untyped-def]
    """What it is worth to align two neighbouring words with two; 0 where they cannot be."""
    if not cells[row, at] or not cells[row + 1, at + 1]:
        return 0
    worth = int(cells[row, at]) + int(cells[row + 1, at + 1])
    if row + 2 < cells.shape[0] and at + 2 < cells.shape[1] and cells[row + 2, at + 2]:
        worth += FOLLOWS
    return worth


@compiled_inner
def align(cells, worth, aligned):  # type: ignore[no-untyped-def]
    """Fill, for each word of the segment, the word of the text that it is aligned with; -1 for none.

    Args:
        cells: of `compare_words`.
        worth: int32 [segment words + 1, text words + 1], filled: what the alignment of the rest is worth.
        aligned: int32 [segment words], filled.
    """
    rows, columns = cells.shape
    worth[rows - 1 :, :] = 0
    worth[:, columns - 1 :] = 0
    for row in range(rows - 2, -1, -1):
        for at in range(columns - 2, -1, -1):
            best = max(worth[row + 1, at], worth[row, at + 1])
            both = pair_worth(cells, row, at)
            if both > 0:
                best = max(best, worth[row + 1, at + 1] + both)
            worth[row, at] = best
    aligned[:] = -1
    row = at = 0
    while row < rows - 1 and at < columns - 1:
        both = pair_worth(cells, row, at)
        if both > 0 and worth[row, at] == worth[row + 1, at + 1] + both:
            aligned[row], aligned[row + 1] = at, at + 1
            row += 1
            at += 1
        elif worth[row, at] == worth[row + 1, at]:
            row += 1
        else:
            at += 1
    for step in range(rows):  # from both ends, so that a word next to one that was taken in follows
        take_in(cells, aligned, step)
        take_in(cells, aligned, rows - 1 - step)


@compiled_inner
def take_in(cells, aligned, row):  # type: ignore[no-untyped-def]
    """Align a single word where the words around it say that it must be, if it is there."""
    rows, columns = cells.shape
    if aligned[row] >= 0:
        return
    before, after = row - 1, row + 1
    while before >= 0 and aligned[before] < 0:
        before -= 1
    while after < rows and aligned[after] < 0:
        after += 1
    low = aligned[before] + 1 if before >= 0 else 0
    high = aligned[after] if after < rows else columns
    for side in range(2):
        if (side == 0 and (before < 0 or row - before > NEAR)) or (side == 1 and (after >= rows or after - row > NEAR)):
            continue
        expected = aligned[before] + row - before if side == 0 else aligned[after] - (after - row)
        for at in (expected, expected - 1, expected + 1):
            if low <= at < high and cells[row, at]:
                aligned[row] = at
                return


@compiled_inner
def measure(aligned, same, numbers, weights, out):  # type: ignore[no-untyped-def]
    """All measures of one alignment, see `score_groups`.

    Args:
        aligned: int32 [words], the word of the text for each word of the segment, or -1.
        same: uint8 [words], whether that word is equal, numbers included.
        numbers: uint8 [words], whether the word holds a digit.
        weights: float32 [words].
        out: float64 [12], filled.
    """
    total = held = held_any = 0.0
    covered = longest = run = gap = widest = edge = changed = words = missing = hole = 0
    lately = 0  # bits: which of the last words with any weight are not there
    begun = False
    start, stop = -1, -1
    for place in range(len(aligned)):
        at, weight = aligned[place], weights[place]
        total += weight
        if weight > 0:
            words += 1
            missing += at < 0
            lately = (lately << 1 | (at < 0)) & ((1 << HOLE_WORDS) - 1)
            hole = max(hole, sum([lately >> bit & 1 for bit in range(HOLE_WORDS)]))
        if at >= 0:
            held_any += weight
            start = at if start < 0 else min(start, at)
            stop = max(stop, at)
            changed += numbers[place] and not same[place]
        if at >= 0 and same[place]:
            held += weight
            covered += 1
            run = run + 1 if run and aligned[place - 1] == at - 1 else 1
            longest = max(longest, run)
        else:
            run = 0
        if at >= 0:
            edge = edge if begun else gap
            begun = True
            gap = 0
        elif weight > 0:
            gap += 1
        widest = max(widest, gap)
    out[EXACT] = held / total if total > 0.0 else 0.0
    out[MASKED] = held_any / total if total > 0.0 else 0.0
    out[COVERAGE] = covered / len(aligned)
    out[LONGEST], out[GAP], out[HOLE], out[EDGE] = longest, widest, hole, max(edge, gap)
    out[MISSING], out[CHANGED] = missing, changed
    out[START], out[STOP], out[WORDS] = start, stop, words


@compiled_inner
def by_runs(hits, first, end, width, aligned, same):  # type: ignore[no-untyped-def]
    """Align by runs alone, for what is too large to compare word by word."""
    text_place, seg_place, masked = hits
    aligned[:] = -1
    same[:] = 0
    for at in range(first, end + 1):
        for step in range(width):
            place = seg_place[at] + step
            if not same[place]:
                aligned[place], same[place] = text_place[at] + step, not masked[at]


@compiled
def score_groups(group, hits, texts, segments, key, width, room, out):  # type: ignore[no-untyped-def]
    """Score each group of hits: those of one text with one segment, where the text has most of them.

    Args:
        group: int64 [groups + 1], where the hits of each group begin.
        hits: (text place, segment place, masked, segment, text) of each hit, sorted by text, segment, text place; texts
            are numbered from 0.
        texts: (addresses, lengths).
        segments: (begin, salts, numbers, prints, weights), see `EvalIndex`.
        key: uint64 [2].
        width: words a run.
        room: (hashes, numbers, lines) for the longest text, see `cut_words`.
        out: float64 [groups, 12], filled: share of the weight of the words that stand in the text; the same with any
            number for any other; share of the words; words of the longest stretch without an edit; of the words with
            any weight, most in a row that are not there, most among HOLE_WORDS, most at the beginning or the end, and
            how many in all; words with digits that differ; first and last word of the text that is aligned; words with
            any weight.
    """
    text_place, seg_place, masked, segment, text = hits
    begins, salts, seg_numbers, prints, weights = segments
    hashes, numbers, lines = room
    cut, count = -1, 0
    for row in range(len(group) - 1):
        first, end = group[row], group[row + 1]
        seg = segment[first]
        begin, stop = begins[seg], begins[seg + 1]
        size = stop - begin
        if text[first] != cut:
            cut = text[first]
            count = cut_words(texts[0][cut], texts[1][cut], hashes, numbers, lines)
        best_from, best_to = densest(text_place, first, end, 2 * size + SLACK_WORDS)
        low = max(0, text_place[best_from] - seg_place[best_from] - SLACK_WORDS)
        high = min(count, text_place[best_to] + size - seg_place[best_to] + SLACK_WORDS)
        aligned, same = np.empty(size, np.int32), np.zeros(size, np.uint8)
        if size * (high - low) > MAX_CELLS:
            by_runs((text_place, seg_place, masked), best_from, best_to, width, aligned, same)
        else:
            cells = np.empty((size, high - low), np.uint8)
            worth = np.empty((size + 1, high - low + 1), np.int32)
            words = (prints[begin:stop], seg_numbers[begin:stop], salts[seg])
            compare_words(words, (hashes[low:high], numbers[low:high]), key, cells)
            align(cells, worth, aligned)
            for place in range(size):
                if aligned[place] >= 0:
                    same[place] = cells[place, aligned[place]] == SAME
                    aligned[place] += low
        measure(aligned, same, seg_numbers[begin:stop], weights[begin:stop], out[row])


@compiled
def align_numbers(segment, text, weights, aligned, out):  # type: ignore[no-untyped-def]
    """Align words that are given as numbers, equal where the words are, for callers that are not compiled.

    Args:
        segment: int64 [words], at least 1.
        text: int64 [text words], at least 1; the product of both is at most MAX_CELLS.
        weights: float32 [words].
        aligned: int32 [words], filled: the word of the text for each word of the segment, or -1.
        out: float64 [12], filled, as one group of `score_groups`.
    """
    cells = np.zeros((len(segment), len(text)), np.uint8)
    for row in range(len(segment)):
        for at in range(len(text)):
            if segment[row] == text[at]:
                cells[row, at] = SAME
    align(cells, np.empty((len(segment) + 1, len(text) + 1), np.int32), aligned)
    same = (aligned >= 0).astype(np.uint8)
    measure(aligned, same, np.zeros(len(segment), np.uint8), weights, out)
