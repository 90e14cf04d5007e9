"""Exact and normalised equality, and that neither needs the compiler."""

from __future__ import annotations

import subprocess
import sys

import polars as pl
import pytest

from curate.dedup import exact_hashes, normalise, normalised_hashes


def groups(frame: pl.DataFrame) -> list[int | None]:
    """First row with the same hash, null for null."""
    rows = [None if None in row else row for row in frame.rows()]
    return [None if row is None else rows.index(row) for row in rows]


def test_exact_hashes_tell_bytes_apart() -> None:
    text = pl.Series(["a", "b", "a", None, "", "A", "", None, "a "])
    assert groups(exact_hashes(text)) == [0, 1, 0, None, 4, 5, 4, None, 8]


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ("A b", "a  B\n", True),
        ("ÉCOLE", "école", True),
        ("cafe\u0301", "café", True),
        ("ﬁne", "fine", True),
        ("Straße", "STRASSE", True),
        ("\u0131l\u0131k", "ILIK", True),
        ("x\u00a0y", "x y", True),
        ("x\u3000y", "x y", True),
        ("\uff11\uff12", "12", True),
        ("a b", "ab", False),
        ("a.", "a", False),
        ("no", "on", False),
        ("é", "e", False),
    ],
)
def test_normalised_equality(one: str, other: str, equal: bool) -> None:
    found = groups(normalised_hashes(pl.Series([one, other])))
    assert (found[1] == 0) is equal


def test_normalise_keeps_its_input_and_nulls() -> None:
    text = pl.Series(["É\t", None])
    assert normalise(text).to_list() == ["é", None]
    assert text.to_list() == ["É\t", None]


def test_importing_the_package_does_not_load_the_compiler() -> None:
    code = (
        "import sys, polars as pl; from curate.dedup import exact_hashes, find_duplicates, normalised_hashes;"
        "normalised_hashes(pl.Series(['a'])); import curate.split; print('numba' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
