"""Which keys of a long column occur more than once, in the memory of a few numbers a row.

Most keys of most data are unique. Grouping by them all makes a table entry and a list of rows for each; sorting their
64-bit hashes finds the few that can repeat, and only these need to be compared.
"""

from __future__ import annotations

import numpy as np
import polars as pl


def with_repeats(frame: pl.DataFrame, column: str) -> pl.DataFrame:
    """The rows of a frame whose value in a column may occur more than once, in their order.

    No row whose value does is left out. A row whose value is unique is in it only where two hashes of 64 bits collide,
    so that whoever needs to be sure compares the values themselves. Nulls are equal to each other.

    Args:
        frame: any frame.
        column: one of its columns, of a type that polars can hash.
    """
    hashes = frame[column].hash().to_numpy()
    ordered = np.sort(hashes)
    repeated = np.unique(ordered[1:][ordered[1:] == ordered[:-1]])
    del ordered
    if not len(repeated):
        return frame.clear()
    place = np.minimum(np.searchsorted(repeated, hashes), len(repeated) - 1)
    return frame.filter(pl.Series(repeated[place] == hashes, dtype=pl.Boolean))
