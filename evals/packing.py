"""Packing token sequences that begin alike into one row, so that what they share passes through the model once.

A row holds a tree: each token knows the token before it, and attends to that path alone. A row without branches is an
ordinary causal sequence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

MIN_SHARED = 0.5
"""Least share of a sequence that it must have in common with the row it joins."""
MAX_GROWTH = 2
"""Most tokens of a row, in lengths of its first sequence: attention costs the square of a row's length."""


@dataclass(frozen=True)
class Query:
    """A continuation to be scored after a context."""

    context: tuple[int, ...]
    continuation: tuple[int, ...]
    each: bool = False
    """Whether the score of each token is wanted beside their sum; with and without share a pass."""

    def inputs(self, max_length: int) -> tuple[int, ...]:
        """The tokens fed to the model: all but the last, the newest `max_length` of them."""
        return (*self.context, *self.continuation)[-(max_length + 1) :][:-1]


@dataclass
class Row:
    """One row of a batch."""

    tokens: list[int] = field(default_factory=list)
    parents: list[int] = field(default_factory=list)
    """For each token the index of the token before it on its path; -1 for the first."""
    depths: list[int] = field(default_factory=list)
    """Position of each token on its path."""
    reads: list[tuple[Query, list[int]]] = field(default_factory=list)
    """Queries answered by this row, each with the indexes whose logits predict its continuation."""

    @property
    def branches(self) -> bool:
        """Whether some token does not follow the one to its left."""
        return any(parent != index - 1 for index, parent in enumerate(self.parents))

    def add(self, query: Query, inputs: Sequence[int], path: list[int]) -> list[int]:
        """Put a query's inputs in the row after the part of `path` that they share.

        Args:
            query: what is asked.
            inputs: its tokens.
            path: indexes in this row of the tokens of the query added before.

        Returns:
            Indexes in this row of all tokens of `inputs`.
        """
        shared = common_prefix(inputs, [self.tokens[index] for index in path])
        path = path[:shared]
        for token in inputs[shared:]:
            self.parents.append(path[-1] if path else -1)
            self.depths.append(len(path))
            path.append(len(self.tokens))
            self.tokens.append(token)
        self.reads.append((query, path[-len(query.continuation) :]))
        return path


def common_prefix(first: Sequence[int], second: Sequence[int]) -> int:
    """Number of leading tokens that two sequences have in common."""
    count = 0
    for one, other in zip(first, second, strict=False):
        if one != other:
            break
        count += 1
    return count


def pack(queries: Iterable[Query], max_length: int, *, branches: bool) -> list[Row]:
    """Rows that answer all queries, longest first; equal queries are answered once.

    Args:
        queries: what is asked.
        max_length: most tokens that the model reads; older ones are cut.
        branches: whether rows may branch. Without branches, a sequence still joins one that it is the beginning of.
    """
    waiting = sorted({query: query.inputs(max_length) for query in queries}.items(), key=lambda item: item[1])
    if not branches:
        return _sorted(_chains(waiting))
    rows: list[Row] = []
    path: list[int] = []
    most = 0
    for query, inputs in waiting:
        shared = common_prefix(inputs, [rows[-1].tokens[index] for index in path]) if rows else 0
        length = len(rows[-1].tokens) + len(inputs) - shared if rows else 0
        if shared <= MIN_SHARED * len(inputs) or length > most:
            rows.append(Row())
            path, most = [], MAX_GROWTH * len(inputs)
        path = rows[-1].add(query, inputs, path)
    return _sorted(rows)


def _chains(waiting: list[tuple[Query, tuple[int, ...]]]) -> list[Row]:
    """Rows without branches. In sorted order, a beginning of some sequence is a beginning of the next one."""
    rows: list[Row] = []
    path: list[int] = []
    held: tuple[int, ...] = ()
    for query, inputs in reversed(waiting):
        if rows and held[: len(inputs)] == inputs:
            rows[-1].reads.append((query, path[: len(inputs)][-len(query.continuation) :]))
            continue
        rows.append(Row())
        path, held = rows[-1].add(query, inputs, []), inputs
    return rows


def _sorted(rows: list[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (-len(row.tokens), row.tokens))
