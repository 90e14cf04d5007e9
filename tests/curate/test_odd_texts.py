"""Odd texts are the same to compiled code and to the expression that small corpora are searched with."""

import string

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from curate import rows
from curate.answers import odd_turns
from curate.dedup.odd_texts import odd_texts
from curate.readers import read_corpus
from tests.curate.made_rows import chat, write_rows

SHORTEST = 5
LETTERS, BREAKS, CONTROLS = (
    ["a", "Z9", "====", "-_+/"],
    [" ", "\n", "\t", "\r\f", "é", "語"],
    ["\x00", "\x0b", "\x1f", "\x7f"],
)
PIECES = st.sampled_from([*LETTERS, *BREAKS, *CONTROLS])


@given(st.lists(st.lists(PIECES, max_size=12).map("".join), max_size=6))
def test_compiled_code_finds_what_the_expression_finds(texts):
    text = pl.Series(texts, dtype=pl.String)
    found = odd_texts(text, map(ord, f"{string.ascii_letters}{string.digits}+/=_-"), SHORTEST)
    expected = text.str.contains(rf"[\x00-\x08\x0b\x0e-\x1f\x7f]|[A-Za-z0-9+/=_-]{{{SHORTEST}}}")
    assert found.to_list() == expected.to_list()


def test_a_run_is_found_wherever_it_begins_and_nothing_shorter():
    members = map(ord, "x")
    texts = [" " * before + "x" * size + " " * 9 for size in (SHORTEST, SHORTEST - 1) for before in range(12)]
    assert odd_texts(pl.Series([*texts, None]), members, SHORTEST).to_list() == [True] * 12 + [False] * 13


def test_large_and_small_corpora_have_the_same_odd_turns(tmp_path, monkeypatch):
    turns = ["plain", "bell \x07", "A" * 255, "A" * 256, "form\x0cfeed", "é" * 300]
    path = write_rows(tmp_path / "rows.jsonl", [chat(text, "ok") for text in turns])
    small = odd_turns(read_corpus([path]))
    assert small["index"].to_list() == [1, 3]
    monkeypatch.setattr(rows, "COMPILED_BYTES", 0)
    assert odd_turns(read_corpus([path])).equals(small)
