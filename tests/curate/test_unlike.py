"""Small inputs without alike rows are told without compiled code; alike rows are never told apart by it."""

import random
import subprocess
import sys
from unittest.mock import patch

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from curate.dedup import find_duplicates, search
from curate.dedup.unlike import common_length, surely_unlike
from tests.curate.hard_texts import TEXTS

TOKENS = st.lists(st.integers(0, 4), max_size=40)


def plain_common_length(one: list[int], other: list[int]) -> int:
    lengths = [[0] * (len(other) + 1) for _ in range(len(one) + 1)]
    for i, left in enumerate(one):
        for j, right in enumerate(other):
            above = max(lengths[i][j + 1], lengths[i + 1][j])
            lengths[i + 1][j + 1] = lengths[i][j] + 1 if left == right else above
    return lengths[-1][-1]


@given(one=TOKENS, other=TOKENS)
def test_the_longest_common_subsequence_is_that_of_the_plain_algorithm(one, other):
    assert common_length(one, other) == plain_common_length(one, other)


def test_texts_of_many_kinds_are_unlike_and_a_copy_with_an_edit_is_not():
    texts = [text for name, text in TEXTS.items() if name not in {"ASK", "SHORT"}]
    assert surely_unlike(pl.Series(texts), 0.6)
    for text in texts:
        assert not surely_unlike(pl.Series([*texts, f"{text} One more sentence."]), 0.6)


@given(seed=st.integers(0, 10_000), share=st.floats(0.0, 0.6), name=st.sampled_from(sorted(TEXTS)))
def test_what_the_search_finds_is_never_called_unlike(seed, share, name):
    rng = random.Random(seed)
    words = TEXTS[name].split(" ")
    edited = [rng.choice(["", word.upper(), "other", f"{word},", word[::-1]]) if rng.random() < share else word
              for word in words]  # fmt: skip
    rows = pl.Series([TEXTS[name], " ".join(edited)])
    with patch.object(search, "surely_unlike", lambda text, floor: False):
        found = find_duplicates(rows).pairs
    assert found.equals(find_duplicates(rows).pairs)
    if rows[0] != rows[1] and found.height:
        assert not surely_unlike(rows, 0.6)


def test_an_audit_of_a_few_unlike_rows_loads_no_compiled_code():
    code = (
        "import sys, polars as pl; from curate.dedup import find_duplicates;"
        "found = find_duplicates(pl.Series(['the first row of two', 'something else, as one sees', 'x', 'x']));"
        "print(found.representative.to_list(), found.parameters['kept'], 'numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[None, None, None, 2] 3 False\n"
