"""Text that is safe to show: what comes from files, rows and models never reaches a terminal raw."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass


def printable(text: str) -> str:
    r"""Escape everything that a terminal could act on or hide: controls, line breaks, bidi marks, lone surrogates.

    Letters of any script stay as they are; a newline becomes the two characters ``\n``.
    """
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode("ascii") for char in text)


CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}


@dataclass(frozen=True)
class Screen:
    """A terminal that a result goes to."""

    columns: int = 80
    colour: bool = True
    """Whether it wants colours."""

    def paint(self, text: str, *styles: str) -> str:
        """The text in some of the styles of CODES; text from outside must have gone through `printable` before."""
        if not (self.colour and styles and text):
            return text
        return f"\x1b[{';'.join(CODES[style] for style in styles)}m{text}\x1b[0m"


NO_SCREEN = Screen(colour=False)
"""A file or a pipe: nothing is painted."""


def printable_json(text: str) -> str:
    r"""JSON whose strings hold no character raw that a terminal could act on or hide; the values stay the same.

    Args:
        text: JSON that may be indented; outside of strings it is ASCII, so that each such character can become \uXXXX.
    """
    hidden = {char for char in set(text) if not char.isprintable() and char != "\n"}
    if not hidden:
        return text
    escaped = {char: json.dumps(char)[1:-1] if char != "\x7f" else "\\u007f" for char in hidden}
    # Many times as fast as `str.translate`, since few of them occur.
    return re.sub(f"[{re.escape(''.join(sorted(hidden)))}]", lambda found: escaped[found[0]], text)
