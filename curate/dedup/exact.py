"""Exact and normalised equality by 128-bit hashes, in native code, without numba.

Normalised text is Unicode NFKC, lower case, with runs of whitespace as one space and none at the ends. Letters that are
lost where all are capitals are written as they come back from there: ss for a sharp s, i for one without a dot.
"""

from __future__ import annotations

import unicodedata
from functools import cache

import polars as pl

_SEEDS = (0x5EED_0001, 0x5EED_0002)
_SPACES = [chr(code) for code in range(0x3001) if chr(code).isspace() and chr(code) != " "]
_WRITTEN = {space: " " for space in _SPACES} | {"\u00df": "ss", "\u0131": "i"}
_CHECKED = ((0x80, 0x3400), (0xA000, 0xAC00), (0xD7B0, 0xD800), (0xF900, 0x20000), (0x2F800, 0x2FA20))


@cache
def _unstable() -> str:
    """A regular expression for one character that NFKC may change, alone or after another one."""
    changed = [
        code
        for start, stop in _CHECKED
        for code in range(start, stop)
        if unicodedata.combining(char := chr(code)) or unicodedata.normalize("NFKC", char) != char
    ]
    starts = [code for code, before in zip(changed, [0, *changed], strict=False) if code != before + 1]
    ends = [code for code, after in zip(changed, [*changed[1:], 0], strict=True) if code != after - 1]
    ranges = "".join(rf"\u{{{start:x}}}-\u{{{end:x}}}" for start, end in zip(starts, ends, strict=True))
    # Vowel and final jamo compose with what stands before them, though none of them changes alone.
    return rf"[{ranges}\u{{1161}}-\u{{1175}}\u{{11a8}}-\u{{11c2}}]"


def normalise(text: pl.Series) -> pl.Series:
    """Text as normalised equality sees it. Any script; nulls stay null."""
    beyond = (text.str.len_bytes() != text.str.len_chars()).fill_null(False).arg_true()
    if len(beyond):
        # Normalisation is slow and changes nothing in most text: only rows that need it get it.
        rows = text.gather(beyond)
        needy = rows.str.contains(_unstable())
        if needy.any():
            text = text.clone().scatter(beyond.filter(needy), rows.filter(needy).str.normalize("NFKC"))
    written = text.str.to_lowercase().str.replace_many(_WRITTEN)
    return written.str.replace_all(r"  +", " ").str.strip_chars(" ")


def exact_hashes(text: pl.Series) -> pl.DataFrame:
    """128-bit hashes of the rows' bytes: columns `high`, `low` (UInt64), null for null.

    Valid within one process and one polars version; not meant to be stored.
    """
    high, low = (text.hash(seed) for seed in _SEEDS)
    frame = pl.DataFrame({"high": high, "low": low})
    missing = text.is_null()
    return frame.with_columns(pl.when(~missing).then(pl.col("high", "low"))) if missing.any() else frame


def normalised_hashes(text: pl.Series) -> pl.DataFrame:
    """128-bit hashes of the rows' normalised text, as `exact_hashes`."""
    return exact_hashes(normalise(text))
