"""Compiled: how much of a segment of an eval item a text holds. Importing this module imports numba."""

from __future__ import annotations

import numpy as np

from curate.dedup.compiled import compiled

SLACK_WORDS = 20
"""A text may spread a segment over twice its words and these."""


@compiled
def score_groups(group, hits, segments, width, out):  # type: ignore[no-untyped-def]
    """Score each group of hits: those of one text with one segment.

    Only the stretch of the text with the most hits counts, twice as long as the segment and SLACK_WORDS more.

    Args:
        group: int64 [groups + 1], where the hits of each group begin.
        hits: (text place, segment place, masked, segment) of each hit, sorted by group, then text place.
        segments: (begin, numbers, weights) of all positions, see `EvalIndex`.
        width: words a run.
        out: float64 [groups, 9], filled: share of the weight that exact runs cover; that exact or masked runs cover;
            share of the words that exact runs cover; words of the longest exact run; most words in a row that nothing
            covers; words with digits that only masked runs cover; first and last word of the stretch; words covered.
    """
    text_place, seg_place, masked, segment = hits
    begins, numbers, weights = segments
    for row in range(len(group) - 1):
        first, end = group[row], group[row + 1]
        seg = segment[first]
        begin, size = begins[seg], begins[seg + 1] - begins[seg]
        reach = 2 * size + SLACK_WORDS
        best_from, best_to, low = first, first, first
        for high in range(first, end):
            while text_place[high] - text_place[low] > reach:
                low += 1
            if high - low > best_to - best_from:
                best_from, best_to = low, high
        exact, any_kind = np.zeros(size, np.uint8), np.zeros(size, np.uint8)
        longest = run = 0
        for at in range(best_from, best_to + 1):
            for step in range(width):
                any_kind[seg_place[at] + step] = 1
                if not masked[at]:
                    exact[seg_place[at] + step] = 1
        # A run goes on where the next hit is one word further in both.
        last_text, last_seg = -2, -2
        for at in range(best_from, best_to + 1):
            if masked[at]:
                continue
            goes_on = text_place[at] == last_text + 1 and seg_place[at] == last_seg + 1
            run = run + 1 if goes_on else width
            longest = max(longest, run)
            last_text, last_seg = text_place[at], seg_place[at]
        total = held = held_any = 0.0
        covered = gap = widest = changed = 0
        for place in range(size):
            weight = weights[begin + place]
            total += weight
            held += weight if exact[place] else 0.0
            held_any += weight if any_kind[place] else 0.0
            covered += exact[place]
            gap = 0 if any_kind[place] else gap + 1
            widest = max(widest, gap)
            changed += numbers[begin + place] and any_kind[place] and not exact[place]
        out[row, 0] = held / total if total > 0.0 else 0.0
        out[row, 1] = held_any / total if total > 0.0 else 0.0
        out[row, 2] = covered / size
        out[row, 3] = longest
        out[row, 4] = widest
        out[row, 5] = changed
        out[row, 6] = text_place[best_from]
        out[row, 7] = text_place[best_to] + width - 1
        out[row, 8] = covered
