"""The proof by bytes never says more than normalised equality does, and says all of it for ASCII."""

import numpy as np
import polars as pl
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.dedup.exact import normalise
from curate.dedup.same_text import same_text
from curate.dedup.spans import string_spans

ASCII = st.text(st.sampled_from("aAbB zZ\t\n\r\x0b\x1c09.,"), max_size=12)
ANY = st.text(st.sampled_from("aAiI kK\t\n é\u0301\u0307\u00a0\u3000İ\u0131\u017fK「Ａ世"), max_size=12)


def proved(one: str, other: str) -> bool:
    spans = string_spans(pl.Series([one, other]))
    same = np.zeros(1, dtype=np.bool_)
    same_text(spans.addresses, spans.lengths, np.array([[0, 1]]), same)
    return bool(same[0])


def normalised_alike(one: str, other: str) -> bool:
    texts = normalise(pl.Series([one, other]))
    return bool(texts[0] == texts[1])


def recased(text: str, draw: st.DataObject) -> str:
    """The same text with ASCII letters and white space changed at random."""
    made = ""
    for character in text:
        if character.isascii() and character.isalpha():
            made += draw.draw(st.sampled_from([character.lower(), character.upper()]))
        elif character in " \t\n":
            made += draw.draw(st.text(st.sampled_from(" \t\n"), min_size=1, max_size=3))
        else:
            made += character
    return made


@given(ASCII, ASCII)
@example("", " \n")
@example("a b", "\tA\x1cB ")
def test_of_ascii_it_proves_what_normalised_equality_says(one, other):
    assert proved(one, other) == normalised_alike(one, other)


@given(ANY, ANY)
@example("İ", "i\u0307")
@example("é", "e\u0301")
def test_what_it_proves_is_equal_when_normalised(one, other):
    assert not proved(one, other) or normalised_alike(one, other)


@settings(max_examples=300)
@given(ANY, st.data())
def test_case_and_white_space_of_ascii_change_nothing_beside_other_characters(text, data):
    other = recased(text, data)
    assert proved(text, other)
    assert normalised_alike(text, other)
