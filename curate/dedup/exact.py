"""Exact and normalised equality by 128-bit hashes, in native code, without numba.

Normalised text is Unicode NFKC, lower case, with runs of whitespace as one space and none at the ends.
"""

from __future__ import annotations

import polars as pl

_SEEDS = (0x5EED_0001, 0x5EED_0002)


def normalise(text: pl.Series) -> pl.Series:
    """Text as normalised equality sees it. Any script; nulls stay null."""
    plain = text.str.len_bytes() == text.str.len_chars()
    if not plain.fill_null(True).all():
        # Normalisation is slow and changes nothing in ASCII text.
        beyond = text.filter(~plain.fill_null(True)).str.normalize("NFKC")
        rows = (~plain.fill_null(True)).arg_true()
        text = text.clone().scatter(rows, beyond)
    folded = text.str.to_lowercase()
    return (
        folded.str.replace_all(r"[\t-\r\x1c-\x1f\u{85}\u{a0}]|\s{2,}", " ")
        .str.replace_all(r" {2,}", " ")
        .str.strip_chars()
    )


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
