"""Verification of the fast setting: exact Jaccard similarity of word 5-grams. Importing this module imports numba."""

from __future__ import annotations

from curate.dedup.compiled import compiled, compiled_inner
from curate.dedup.kernel import row_tokens
from curate.dedup.kinds import NEAR, NONE
from curate.dedup.sets import fill_set, make_grams, set_similarity, table_size
from curate.dedup.word_sketch import row_words

GRAM = 5  # words of a shingle
LONG_ROW = 512  # where both rows have so many bytes, their words decide; of shorter rows signs and operators count, too


@compiled_inner
def row_grams(address, length, tables, room, hashes, marks, plain):  # type: ignore[no-untyped-def]
    """Hashes of the 5-grams of a row, of its plain words or of the tokeniser's tokens; returns their number."""
    if plain:
        count = row_words(address, length, tables, room, hashes)
    else:
        count = row_tokens(address, length, tables, room, hashes, marks)
    return make_grams(hashes, count, GRAM)


@compiled
def judge_pairs_by_sets(addresses, lengths, pairs, tables, floor, space, outputs):  # type: ignore[no-untyped-def]
    """`verify.judge_pairs` by the exact Jaccard similarity of sets of GRAM neighbouring words, and nothing else."""
    verdict, similarity = outputs
    room, left, marks, right, _, table, spare, met, _, _, _ = space
    current, known, n, distinct, stamp = -1, False, 0, 0, 0
    for index in range(len(pairs)):
        a, b = pairs[index, 0], pairs[index, 1]
        plain = lengths[a] >= LONG_ROW and lengths[b] >= LONG_ROW
        if a != current or plain != known:
            current, known, stamp = a, plain, index + 1
            n = row_grams(addresses[a], lengths[a], tables, room, left, marks, plain)
            distinct = fill_set(table, left, n, stamp)
        m = row_grams(addresses[b], lengths[b], tables, room, right, marks, plain)
        value = set_similarity((table, table_size(n), stamp, distinct), met, spare, right, m, index + 1)
        similarity[index] = value
        verdict[index] = NEAR if value >= floor and m > 0 else NONE
