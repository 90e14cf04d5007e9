"""Finding the passages that a question is nearest to: by words (BM25), or by a local embedding model."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from evals.retrieval.passages import Passage
from evals.retrieval.words import search_words
from schemas.errors import MissingExtra

BM25 = "bm25"


class Hit(NamedTuple):
    """A passage that was found."""

    passage: Passage
    score: float


class Index(ABC):
    """Passages that can be searched; the same for the same passages in any order.

    Args:
        passages: with distinct ids.
    """

    def __init__(self, passages: Sequence[Passage]) -> None:
        self.passages = sorted(passages, key=lambda passage: passage.passage_id)

    @abstractmethod
    def scores(self, queries: Sequence[str]) -> list[NDArray[np.float32]]:
        """For each query the score of each passage, float32 [passages]; not above 0 where nothing was found."""

    @property
    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What a report should say of how it searches."""

    def search(self, queries: Sequence[str], k: int) -> list[list[Hit]]:
        """The best passages of each query, best first; of equal ones, first the one with the lower id.

        Args:
            queries: of any length and script.
            k: most passages a query. There are fewer where fewer have anything in common with it.
        """
        return [[Hit(self.passages[at], float(row[at])) for at in _best(row, k)] for row in self.scores(queries)]


def open_index(passages: Sequence[Passage], retriever: str) -> Index:
    """An index of passages.

    Args:
        passages: with distinct ids.
        retriever: `bm25`, or the folder of an embedding model.

    Raises:
        UserError: the folder holds no embedding model that can be used.
        MissingExtra: the package that searches is not installed.
    """
    if retriever == BM25:
        return WordIndex(passages)
    from evals.retrieval.embedding import EmbeddingIndex

    return EmbeddingIndex(passages, Path(retriever))


def _best(scores: NDArray[np.float32], k: int) -> NDArray[np.intp]:
    found = np.flatnonzero(scores > 0)
    if len(found) > k > 0:
        least = np.partition(scores[found], len(found) - k)[len(found) - k]
        found = found[scores[found] >= least]
    return found[np.argsort(-scores[found], kind="stable")][:k]


class WordIndex(Index):
    """BM25 (Robertson; in Lucene's form, k1 1.5 and b 0.75) by bm25s, over the words of `words.search_words`.

    Raises:
        MissingExtra: bm25s is not installed.
    """

    def __init__(self, passages: Sequence[Passage]) -> None:
        super().__init__(passages)
        try:
            import bm25s
        except ImportError as error:
            raise MissingExtra("evals", "bm25s") from error

        self._ids: dict[str, int] = {}
        lists = search_words([passage.text for passage in self.passages])
        numbers = [[self._ids.setdefault(word, len(self._ids)) for word in words] for words in lists]
        self._bm25 = bm25s.BM25(method="lucene")
        if self._ids:
            self._bm25.index((numbers, dict(self._ids)), create_empty_token=False, show_progress=False)

    def scores(self, queries: Sequence[str]) -> list[NDArray[np.float32]]:
        """BM25 of each passage; a word counts once however often a query has it."""
        return [self._of(words) for words in search_words(queries)]

    def _of(self, words: Sequence[str]) -> NDArray[np.float32]:
        known = [self._ids[word] for word in dict.fromkeys(words) if word in self._ids]
        if not known:
            return np.zeros(len(self.passages), np.float32)
        found: NDArray[np.float32] = self._bm25.get_scores_from_ids(known)
        return found

    @property
    def facts(self) -> dict[str, Any]:
        """The method and how large the index is."""
        return {"retriever": BM25, "passages": len(self.passages), "words": len(self._ids)}
