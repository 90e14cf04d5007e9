"""Text that is safe to show: what comes from files, rows and models never reaches a terminal raw."""

from __future__ import annotations


def printable(text: str) -> str:
    r"""Escape everything that a terminal could act on or hide: controls, line breaks, bidi marks, lone surrogates.

    Letters of any script stay as they are; a newline becomes the two characters ``\n``.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)
