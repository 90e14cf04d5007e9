"""The tokeniser and the signatures: scripts, folding, and equality with datasketch bit for bit."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from datasketch import MinHash
from hypothesis import given, settings
from hypothesis import strategies as st

from curate.dedup import sketch_signatures
from curate.dedup.alphabet import closed_sets, function_words, negations, number_words
from curate.dedup.kernel import CLOSED_SET, CLOSED_SETS, WORD_SET_BITS, minhash
from curate.dedup.spans import string_spans
from curate.dedup.tables import permutations, token_hashes


def same_tokens(one: str, other: str) -> bool:
    return bool(np.array_equal(token_hashes(one), token_hashes(other)))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Hello, World!", "hello world"),
        ("ÉCOLE Élève", "école élève"),
        ("cafe\u0301 au lait", "café au lait"),
        ("ПРИВЕТ мир", "привет МИР"),
        ("\uff46ull\u3000\uff57idth", "full width"),
        ("\u0663 \u0664", "3 4"),
        ("naïve\u00a0“quotes”", 'naïve "quotes"'),
        ("zero\u200bwidth", "zerowidth"),
        ("if a &lt; b &amp;&amp; c", "if a < b && c"),
        ("we&#39;re &quot;here&quot;", 'we\'re "here"'),
        ("p &lt; 0.05", "p < 0.05"),
        ("from 3 \u2013 4", "from 3 - 4"),
    ],
)
def test_writing_the_same_words_otherwise_gives_the_same_tokens(one: str, other: str) -> None:
    assert same_tokens(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("ma", "má"),
        ("price 3.5", "price 35"),
        ("3 + 5", "3 - 5"),
        ("résumé", "resume"),
        ("one two", "two one"),
        ("snake_case", "snake case"),
        ("&x;", ""),
        ("5 €", "5 £"),
        ("x ≤ y", "x ≥ y"),
    ],
)
def test_other_words_give_other_tokens(one: str, other: str) -> None:
    assert not same_tokens(one, other)


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("  \n\t ", 0),
        ("...!?", 0),
        ("word", 1),
        ("a-b c_d e's", 5),
        ("1,000.50 and 7.", 3),
        ("你好世界", 4),
        ("你好abc世界", 5),
        ("สวัสดี", 6),
        ("x" * 1000, 1),
        ("don't", 2),
    ],
)
def test_number_of_tokens(text: str, count: int) -> None:
    assert len(token_hashes(text)) == count


@settings(max_examples=60)
@given(st.lists(st.integers(0, 2**32 - 1), max_size=80), st.integers(0, 2**31 - 1))
def test_signatures_equal_datasketch_bit_for_bit(tokens: list[int], seed: int) -> None:
    num_perm = 64
    a, b = permutations(num_perm, seed)
    signature = np.empty(num_perm, dtype=np.uint32)
    minhash(np.array(tokens, dtype=np.uint32), len(tokens), a, b, signature)
    theirs = MinHash(num_perm=num_perm, seed=seed, hashfunc=int)
    theirs.update_batch(tokens)
    assert signature.tolist() == theirs.digest().tolist()


def test_signatures_of_texts_can_be_put_into_datasketch() -> None:
    text = pl.Series(
        ["the winter concert raised money for broken instruments", "an entirely different sentence about rivers"]
    )
    signatures = sketch_signatures(text, num_perm=128, seed=7)
    assert signatures.shape == (2, 128)
    mine = MinHash(num_perm=128, seed=7, scheme="affine32", hashvalues=signatures[0])
    other = MinHash(num_perm=128, seed=7, scheme="affine32", hashvalues=signatures[1])
    assert mine.jaccard(mine) == 1.0
    assert mine.jaccard(other) < 0.2


@settings(max_examples=50)
@given(st.lists(st.one_of(st.none(), st.text(max_size=40)), max_size=12), st.integers(0, 5))
def test_spans_point_at_the_text_of_every_row(rows: list[str | None], start: int) -> None:
    import ctypes

    series = pl.concat([pl.Series(rows, dtype=pl.String), pl.Series(["tail " * 9])], rechunk=False).slice(start)
    spans = string_spans(series)
    read = [ctypes.string_at(int(a), int(n)).decode() for a, n in zip(spans.addresses, spans.lengths, strict=True)]
    assert read == [row or "" for row in series.to_list()]


def test_spans_of_another_type_are_refused() -> None:
    with pytest.raises(TypeError, match="expected a String column"):
        string_spans(pl.Series([1, 2]))


@settings(max_examples=100)
@given(st.text(max_size=200))
def test_tokenising_any_text_is_stable_under_case_of_ascii_and_outer_space(text: str) -> None:
    upper = "".join(char.upper() if char.isascii() else char for char in text)
    assert same_tokens(text, f"  {upper}\n")


def test_every_listed_word_has_a_place_and_one_closed_set_of_its_own() -> None:
    sets = closed_sets()
    words = [word for each in sets for word in each]
    assert len(words) == len(set(words))
    assert len(sets) <= CLOSED_SETS >> CLOSED_SET
    listed = " ".join([*words, *negations(), *number_words(), *function_words()])
    places = {token >> (64 - WORD_SET_BITS) for token in token_hashes(listed).tolist()}
    assert len(places) == len(set(token_hashes(listed).tolist()))
