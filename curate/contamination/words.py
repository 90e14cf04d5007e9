"""Text as words that can be compared: what Markdown, LaTeX, case and punctuation add does not count.

Comparable text is normalised (NFKC, lower case) and holds letters, marks and digits only, with one space between words;
each character of a writing system without spaces is a word. Where a line ended stands LINE, and where a sentence ended
STOP, as words of their own.
"""

from __future__ import annotations

import polars as pl

from curate.dedup import normalise

LINE, STOP = "\u00b6", "\u00a7"
ENDS = (". ", '."', "? ", "?", "! ", "!", ": ", "; ", "\u3002", "\uff01", "\uff1f", "\uff1a", "\u061f", "\u0964")
"""What ends a sentence, or the words that announce one."""
LATEX = (
    "frac dfrac tfrac sqrt cdot times div left right text textbf textit mathrm mathbf mathit mathbb mathcal "
    "operatorname begin end array aligned align cases quad qquad displaystyle boxed leq geq neq pm le ge ne to ldots "
    "cdots dots"
).split()
"""Commands that say how something looks, or stand for a sign that other writings leave out as punctuation."""
GREEK = dict(
    zip(
        (f"\\{name}" for name in "alpha beta gamma delta epsilon theta lambda mu pi rho sigma phi omega Delta".split()),
        "\u03b1\u03b2\u03b3\u03b4\u03b5\u03b8\u03bb\u03bc\u03c0\u03c1\u03c3\u03c6\u03c9\u0394",
        strict=True,
    )
)
COMMAND = rf"(?i)\\(?:{'|'.join(sorted(LATEX, key=len, reverse=True))})\b"
TAGS = (
    "a b blockquote br center code div em font h1 h2 h3 h4 h5 h6 hr i img li mark ol p pre s small span strong sub sup "
    "table tbody td th thead tr tt u ul"
).split()
MARKUP = rf"(?i)</?(?:{'|'.join(TAGS)})(?:\s[^<>]{{0,200}}=[^<>]{{0,200}})?\s*/?>|&(?:nbsp|amp|lt|gt|quot|#39|#x27);"
UNSPACED = r"([\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}])"
NO_WORD = rf"[^\p{{L}}\p{{M}}\p{{N}}{LINE}{STOP}]+"


def comparable(text: pl.Series) -> pl.Series:
    """The words of each text with single spaces between them; nulls stay null.

    Args:
        text: String.
    """
    if text.str.contains("\\", literal=True).any():
        text = text.str.replace_many(GREEK).str.replace_all(COMMAND, " ")
    if text.str.contains_any(["<", "&"]).any():
        text = text.str.replace_all(MARKUP, " ")
    if text.str.contains_any([LINE, STOP]).any():
        text = text.str.replace_many([LINE, STOP], [" ", " "])
    text = normalise(text.str.replace_many(["\n", *ENDS], [f" {LINE} ", *[f" {STOP} "] * len(ENDS)]))
    if (text.str.len_bytes() != text.str.len_chars()).any():
        text = text.str.replace_all(UNSPACED, " $1 ")
    return text.str.replace_all(NO_WORD, " ").str.strip_chars(f" {LINE}{STOP}")


def words_of(text: str) -> list[str]:
    """The words of one text, without the marks between them."""
    return [word for word in comparable(pl.Series([text]))[0].split() if word not in (LINE, STOP)]
