"""Keys of normalised text: equal exactly where the normalised texts are."""

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from curate.dedup import normalise
from curate.dedup.text_keys import text_keys

SPACES = [" ", "  ", "\t", "\n", "\x1c", "\u00a0"]
WORDS = ["a", "A", "Z", "word", "Word", "eight by", "EIGHT BY", "[", "@", "`", "{", "\x00", "\x7f"]
BEYOND = ["\u00e9", "\u00c9", "e\u0301", "\uff21", "\u4e16"]
PIECES = st.sampled_from([*SPACES, *WORDS, *BEYOND])
TEXTS = st.lists(PIECES, max_size=12).map("".join)


def same_keys(one: str, other: str) -> bool:
    keys = text_keys(pl.Series([one, other]))
    return keys.row(0) == keys.row(1)


@given(one=TEXTS, other=TEXTS)
def test_keys_are_equal_where_normalised_texts_are(one, other):
    normal = normalise(pl.Series([one, other]))
    assert same_keys(one, other) == (normal[0] == normal[1])


@given(text=TEXTS)
def test_a_text_has_the_key_of_its_normal_form(text):
    assert same_keys(text, normalise(pl.Series([text]))[0])


@pytest.mark.parametrize("size", range(18))
def test_what_a_text_is_read_in_does_not_matter(size):
    text = "One two  THREE\tfour"[:size]
    assert same_keys(text, f"  {text.lower()} \n")
    assert not same_keys(text, text + "x")
    assert not same_keys(text, text + "\x00")


def test_a_null_is_an_empty_text_and_no_rows_are_no_keys():
    keys = text_keys(pl.Series(["", None, "a"]))
    assert keys.row(0) == keys.row(1) != keys.row(2)
    assert text_keys(pl.Series([], dtype=pl.String)).shape == (0, 2)
