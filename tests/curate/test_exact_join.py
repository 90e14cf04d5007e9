"""The split proof's words and pairs, against plain Python."""

# ruff: noqa: RUF001 - characters that look like others are what is tested

from __future__ import annotations

import itertools
import subprocess
import sys
import unicodedata

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from curate.dedup.exact_join import Checker

UNSPACED = (
    (0x0E00, 0x1000), (0x1000, 0x10A0), (0x1780, 0x1800), (0x3005, 0x3008), (0x3040, 0x3100), (0x31F0, 0x3200),
    (0x3400, 0x4DC0), (0x4E00, 0xA000), (0xF900, 0xFB00), (0x20000, 0x40000),
)  # fmt: skip


def words(text: str) -> list[str]:
    """Runs of letters, marks, numbers and underscores of NFKC text; characters of unspaced scripts one by one."""
    found, run = [], ""
    for char in unicodedata.normalize("NFKC", text) + " ":
        plane = ord(char) >> 16
        part = plane < 4 and (char == "_" or plane > 1 or unicodedata.category(char)[0] in "LMN")
        alone = part and any(first <= ord(char) < end for first, end in UNSPACED)
        if part and not alone:
            run += char.lower()[0].replace("ς", "σ")
            continue
        if run:
            found.append(run)
        if alone:
            found.append(char)
        run = ""
    return found


def word_pairs(text: str) -> list[tuple[str, ...]]:
    """Distinct neighbouring pairs in order; one word alone is a pair."""
    found = words(text)
    return [tuple(found)] if len(found) == 1 else list(dict.fromkeys(itertools.pairwise(found)))


ALPHABETS = (
    "ab_ 1AÉé\u0301\u0327\u0316.,\n",  # marks that compose, in any order
    "a\u0345\u0313\u03b1\u03c3\u03c2Σ\u0130ßẞŉﬁ½²①™µÅK",  # compatibility characters, special lower case
    "日本語ひカﾞｶ가각\u1100\u1161\u11a8ไทย々〇\U00020000\U0002f800 a",
    "हिन्दी\u093c क\u09be\u09c7 עִ\u05b0\u05bc عَ\u0651 \u0fb5",
    "a\ufe0f❤\u200d\U0001f600\U000e0100\u00a0…¨´＝≠=\u0338\x00\x1b",
)
TEXTS = st.one_of(st.text(max_size=30), *(st.text(alphabet, max_size=20) for alphabet in ALPHABETS))


@settings(max_examples=300, deadline=None)
@given(st.lists(TEXTS, min_size=1, max_size=6))
@example(["", "one", "one two", "one two one two", "e\u0327\u0301 é\u0327", "\u1100\u1161 가"])
def test_sets_are_those_of_plain_python(texts: list[str]) -> None:
    sets = Checker(pl.Series(texts, dtype=pl.String), workers=1).sets()
    pair_of: dict[int, tuple[str, ...]] = {}
    for row, text in enumerate(texts):
        made = sets.values[sets.starts[row] : sets.starts[row + 1]].tolist()
        wanted = word_pairs(text)
        assert len(made) == len(wanted)
        for value, pair in zip(made, wanted, strict=True):
            assert pair_of.setdefault(value, pair) == pair
    assert len(set(pair_of.values())) == len(pair_of)


def test_every_character_is_classed_as_plain_python_does() -> None:
    chars = [chr(code) for code in range(1, 0x110000) if not 0xD800 <= code < 0xE000]
    texts = ["".join(f"q{char}q " for char in chars[at : at + 256]) for at in range(0, len(chars), 256)]
    sizes = Checker(pl.Series(texts)).sets().sizes
    assert sizes.tolist() == [len(word_pairs(text)) for text in texts]


def test_a_null_row_holds_no_words() -> None:
    assert Checker(pl.Series([None, "a b", None], dtype=pl.String)).sets().sizes.tolist() == [0, 1, 0]
    nothing = Checker(pl.Series([], dtype=pl.String))
    assert nothing.sets().sizes.tolist() == []
    assert nothing.cross_pairs(pl.Series([], dtype=pl.String), np.zeros(0)).is_empty()


ROWS = st.lists(st.lists(st.sampled_from("abcdeABC日本"), max_size=12).map(" ".join), min_size=2, max_size=25)


@settings(max_examples=200, deadline=None)
@given(ROWS, st.data())
def test_pairs_are_those_of_a_comparison_of_all(rows: list[str], data: st.DataObject) -> None:
    n = len(rows)
    splits = data.draw(st.lists(st.sampled_from(["train", "validation", "test"]), min_size=n, max_size=n))
    least = data.draw(st.lists(st.sampled_from([0.25, 0.5, 0.6, 0.7, 2 / 3, 0.9, 1.0]), min_size=n, max_size=n))
    sets = [set(word_pairs(row)) for row in rows]
    wanted = []
    for a, b in itertools.combinations(range(n), 2):
        similarity = len(sets[a] & sets[b]) / max(1, len(sets[a] | sets[b]))
        if splits[a] != splits[b] and sets[a] and sets[b] and similarity >= max(least[a], least[b]) - 1e-9:
            wanted.append((a, b, similarity))
    found = Checker(pl.Series(rows), workers=2).cross_pairs(pl.Series(splits), np.array(least))
    assert list(found.iter_rows()) == wanted


@pytest.mark.parametrize(("share", "found"), [(70, 1), (69, 0)])
def test_a_pair_at_the_threshold_counts_and_one_just_below_does_not(share: int, found: int) -> None:
    one = [f"w{at}" for at in range(101)]  # a hundred pairs
    other = one[: share + 1]  # `share` of them, and none else
    text = pl.Series([" ".join(one), " ".join(other), "x y", "z"])
    pairs = Checker(text).cross_pairs(pl.Series(["train", "test", "train", "train"]), np.full(4, 0.7))
    assert len(pairs) == found


def test_the_split_module_imports_no_numba() -> None:
    code = "import sys, curate.split; sys.exit('numba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
