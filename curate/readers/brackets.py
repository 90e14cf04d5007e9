"""Where a JSON value ends, by its brackets: what they hold need not be JSON."""

from __future__ import annotations

import re

from curate.spill import Bytes

# Everything up to the next bracket that stands outside a string; possessive, so that hostile input costs one pass.
TO_BRACKET = re.compile(rb'(?:[^"\[\]{}]++|"(?:[^"\\]++|\\.)*+")*+([\[\]{}])', re.DOTALL)


def closing(data: Bytes, start: int, limit: int) -> int | None:
    """Behind the bracket that closes the one at `start`; null if none does before `limit`.

    Brackets inside strings do not count; those of both kinds close each other, since a parser looks at that.
    """
    depth, position = 0, start
    while token := TO_BRACKET.match(data, position, limit):
        position = token.end()
        depth += 1 if token[1] in b"{[" else -1
        if depth == 0:
            return position
    return None
