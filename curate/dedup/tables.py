"""Arrays the kernels read: permutations and tokeniser tables. Importing this module imports numba."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from curate.dedup.alphabet import alphabet, closed_sets, entities, function_words, negations, number_words
from curate.dedup.kernel import (
    CLOSED_SET,
    ENTITY,
    FUNCTION,
    NEGATION,
    NUMBER_WORD,
    PADDING,
    WORD_SET_BITS,
    row_tokens,
)
from curate.dedup.regions import LCS_SIDE
from curate.dedup.spans import string_spans
from schemas.errors import UserError

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_ROW = (1 << 28) - 8
"""Bytes of a row: places in its text, which can be twice as long, are kept in 29 bits."""

Tables = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]


def permutations(num_perm: int, seed: int) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """The multipliers and offsets datasketch 2 draws for its ``affine32`` scheme, bit for bit."""
    draw = np.random.RandomState(seed)
    a = draw.randint(0, 1 << 31, num_perm, dtype=np.uint32) * np.uint32(2) + np.uint32(1)
    return a, draw.randint(0, 1 << 32, num_perm, dtype=np.uint32)


@cache
def tokeniser_tables() -> Tables:
    """(words, fold, pairs, composed): listed words, folding and composition."""
    known = alphabet()
    tables = (np.zeros(1 << WORD_SET_BITS, np.uint32), known.fold, known.pairs, known.composed)
    classes: dict[int, int] = {}
    for listed, code in (
        (function_words(), FUNCTION),
        (negations(), NEGATION),
        (number_words(), NUMBER_WORD),
        *((words, number << CLOSED_SET) for number, words in enumerate(closed_sets(), 1)),
        (entities(), ENTITY),
    ):
        for token in token_hashes(" ".join(listed), tables).tolist():
            classes[token] = classes.get(token, 0) | code
    # Where two words share a place, the one that is listed first keeps it.
    for token, code in reversed(classes.items()):
        tables[0][token >> (64 - WORD_SET_BITS)] = code << 8 | token & 0xFF
    return tables


def token_room(longest: int) -> tuple[np.ndarray, ...]:
    """Working memory of `row_tokens` for rows of up to `longest` bytes: (text, edges of words).

    Raises:
        UserError: a row is longer than MAX_ROW bytes.
    """
    if longest > MAX_ROW:
        raise UserError(
            "a row is too long to be compared with others",
            found=f"{longest:,} bytes of text",
            expected=f"at most {MAX_ROW:,}",
            help="cut it into several rows, or leave it out",
        )
    return np.empty(2 * longest + 16 + PADDING, dtype=np.uint8), np.empty(2 * longest + 80, dtype=np.uint32)


def row_space(longest: int, num_perm: int) -> tuple[Any, ...]:
    """Working memory of `sketch_rows` for rows of up to `longest` bytes."""
    return (
        token_room(longest),
        np.empty(longest // 2 + 2, dtype=np.uint64),
        np.empty(longest // 2 + 2, dtype=np.uint32),
        np.empty(longest // 2 + 2, dtype=np.uint32),
        np.empty(num_perm, dtype=np.uint32),
    )


def pair_space(longest: int) -> tuple[Any, ...]:
    """Working memory of `judge_pairs` and `judge_pairs_by_sets` for rows of up to `longest` bytes."""
    tokens = longest // 2 + 2
    entries = 1 << max(4, (2 * tokens - 1).bit_length())
    return (
        token_room(longest),
        np.empty(tokens, dtype=np.uint64),
        np.empty(tokens, dtype=np.uint32),
        np.empty(tokens, dtype=np.uint64),
        np.empty(tokens, dtype=np.uint32),
        (np.zeros(entries, dtype=np.uint64), np.zeros(entries, dtype=np.int64)),
        (np.zeros(entries, dtype=np.uint64), np.zeros(entries, dtype=np.int64)),
        np.zeros(entries, dtype=np.int64),
        np.empty(LCS_SIDE + 1, dtype=np.int64),
        np.empty(9, dtype=np.int64),
        token_room(longest),
    )


def token_hashes(text: str, tables: Tables | None = None) -> NDArray[np.uint64]:
    """The 64-bit token hashes of one text, in order."""
    spans = string_spans(pl.Series([text]))
    size = int(spans.lengths[0]) + 2
    hashes, marks = np.empty(size, np.uint64), np.empty(size, np.uint32)
    known = tables or tokeniser_tables()
    count = row_tokens(spans.addresses[0], spans.lengths[0], known, token_room(size), hashes, marks)
    return hashes[:count]
