"""The two sides of a comparison: rows that are independent of each other, and what is computed of them once."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from schemas.drift import DriftEffect

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

WORD = re.compile(r"\w+")
MIN_ROWS = 10
"""Fewer rows on a side, and nothing is measured."""


@dataclass(frozen=True)
class Draw:
    """How chance is drawn."""

    alpha: float
    permutations: int
    seed: int

    def exchanges(self, new: Flags) -> Flags:
        """Who could have been new as well, were there no difference: [rows, permutations], as many new as there are."""
        rng = self.generator("exchanges")
        return np.stack([rng.permutation(new) for _ in range(self.permutations)], axis=1)

    def generator(self, purpose: str) -> np.random.Generator:
        """Random numbers for one purpose, which have nothing to do with those for another."""
        return generator(self.seed, purpose)

    def p_value(self, found: float, by_chance: Floats) -> float:
        """Share of the exchanges that differ at least as much, the real one included (Phipson and Smyth 2010)."""
        reached = int((by_chance >= found - 1e-12).sum())
        return (1 + reached) / (1 + len(by_chance))


@dataclass(frozen=True)
class Found:
    """What a measurement found."""

    effect: DriftEffect
    message: str
    new_rows: int
    known_rows: int
    facts: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Sample:
    """Rows of both sides, each of which stands for all its near-duplicates on both.

    Were there no difference, which of the rows are new would be chance alone: whichever rows the collections brought,
    of each set of near-duplicates a row was drawn without looking at its side. So the two sides can be exchanged row by
    row, and no p-value needs a model of how rows depend on each other.
    """

    texts: Sequence[str]
    new: Flags
    vectors: Floats
    """[rows, dimensions], made without looking at the sides."""
    answers: Sequence[str | None]
    labels: frozenset[str] = frozenset()
    """Those of the dataset, from all its rows; none where its answers are no labels."""
    seed: int = 0

    @cached_property
    def learned(self) -> Flags:
        """The half of the known rows that vocabulary and topics are learned from; the others are their measure."""
        known = np.flatnonzero(~self.new)
        chosen = generator(self.seed, "learned").permutation(known)[: len(known) // 2]
        flags = np.zeros(len(self.new), dtype=np.bool_)
        flags[chosen] = True
        return flags

    @cached_property
    def measured(self) -> NDArray[np.int64]:
        """Places of the held-out known rows and the new ones."""
        return np.flatnonzero(~self.learned)

    @cached_property
    def words(self) -> list[list[str]]:
        """The words of each text."""
        return [words_of(text) for text in self.texts]

    @cached_property
    def topics(self) -> NDArray[np.int64]:
        """The topic of each row."""
        from evals.drift.topics import topics_of

        return topics_of(self.vectors, self.seed)

    @property
    def why_no_topics(self) -> str:
        """Why there are no topics; empty where there are."""
        if not self.vectors.any():
            return "no text holds a word"
        return "" if self.topics.any() else "there are too few rows for two topics"

    @property
    def why_no_labels(self) -> str:
        """Why there are no labels to compare; empty where there are."""
        if not self.labels:
            return "the dataset's answers are no labels"
        answered = any(said is not None for said, new in zip(self.answers, self.new, strict=True) if new)
        return "" if answered else "the new rows have no answers"

    def only(self, places: NDArray[np.int64], new: Flags) -> Sample:
        """Some of the rows, others of which take the place of the new ones.

        Args:
            places: which rows.
            new: which of these are on the other side.
        """
        texts, answers = [self.texts[at] for at in places], [self.answers[at] for at in places]
        return replace(self, texts=texts, answers=answers, vectors=self.vectors[places], new=new)


def generator(seed: int, purpose: str) -> np.random.Generator:
    """Random numbers for one purpose, which have nothing to do with those of the same seed for another."""
    return np.random.default_rng([seed, *purpose.encode()])


def words_of(text: str) -> list[str]:
    """The words of a text in one spelling."""
    return WORD.findall(unicodedata.normalize("NFKC", text).casefold())
