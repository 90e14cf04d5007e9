"""Text as words that can be compared: what Markdown, LaTeX, case and punctuation add does not count.

Comparable text is normalised (NFKC, lower case) and holds letters, marks and digits only, with one space between words;
each character of a writing system without spaces is a word. Where a line ended stands LINE, as a word of its own.
"""

from __future__ import annotations

import polars as pl

from curate.dedup import normalise

LINE = "\u00b6"
LATEX = (
    "frac dfrac tfrac sqrt cdot times div left right text textbf textit mathrm mathbf mathit mathbb mathcal "
    "operatorname begin end array aligned align cases quad qquad displaystyle boxed leq geq neq pm le ge ne to ldots "
    "cdots dots"
).split()
"""Commands that say how something looks, or stand for a sign that other writings leave out as punctuation."""
COMMAND = rf"\\(?:{'|'.join(sorted(LATEX, key=len, reverse=True))})\b"
MARKUP = r"<[/a-zA-Z][^<>]{0,200}>|&(?:nbsp|amp|lt|gt|quot|#39|#x27);"
UNSPACED = r"([\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}])"
NO_WORD = rf"[^\p{{L}}\p{{M}}\p{{N}}{LINE}]+"


def comparable(text: pl.Series) -> pl.Series:
    """The words of each text with single spaces between them; nulls stay null.

    Args:
        text: String.
    """
    if text.str.contains("\\", literal=True).any():
        text = text.str.replace_all(COMMAND, " ")
    if text.str.contains_any(["<", "&"]).any():
        text = text.str.replace_all(MARKUP, " ")
    if text.str.contains(LINE, literal=True).any():
        text = text.str.replace_all(LINE, " ", literal=True)
    text = normalise(text.str.replace_all("\n", f" {LINE} ", literal=True))
    if (text.str.len_bytes() != text.str.len_chars()).any():
        text = text.str.replace_all(UNSPACED, " $1 ")
    return text.str.replace_all(NO_WORD, " ").str.strip_chars(f" {LINE}")
