"""Several tests at once: which of them still say something.

Whether all tasks are non-inferior needs no correction: the gate passes only if each passes at its own level, which is
an intersection-union test and has that level as a whole (Berger 1982, Technometrics 24:295-300); `combine` of the
outcomes is that test. Whether any task regressed does, or many good tasks would fail a candidate by chance.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import TypeVar

Name = TypeVar("Name", bound=Hashable)


def holm(p_values: Mapping[Name, float]) -> dict[Name, float]:
    """Adjusted p-values of which those at or below a level hold any error at most that often.

    Holm 1979, Scandinavian Journal of Statistics 6:65-70.

    Args:
        p_values: test -> p.
    """
    adjusted, largest = {}, 0.0
    for place, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, p * (len(p_values) - place)))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}


def benjamini_hochberg(p_values: Mapping[Name, float]) -> dict[Name, float]:
    """Adjusted p-values of which those at or below a level hold at most that share of errors, in expectation.

    Benjamini and Hochberg 1995, Journal of the Royal Statistical Society B 57:289-300.

    Args:
        p_values: test -> p; independent, or positively dependent as slices of one test set are.
    """
    adjusted, smallest = {}, 1.0
    ordered = sorted(p_values.items(), key=lambda item: item[1])
    for place in range(len(ordered) - 1, -1, -1):
        name, p = ordered[place]
        smallest = min(smallest, p * len(ordered) / (place + 1))
        adjusted[name] = smallest
    return {name: adjusted[name] for name in p_values}
