"""Texts as vectors: by a local embedding model, or by TF-IDF of words and letters, reduced to its main directions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from evals.drift.sample import Floats, words_of
from schemas.errors import UserError

DIMENSIONS = 100
MAX_WORDS, MAX_LETTERS = 20_000, 10_000
DECIMALS = 6
"""Of a vector: what lies behind depends on the number of threads."""


def vectors_of(texts: Sequence[str], embedding: Path | None, seed: int) -> Floats:
    """One row for each text, of unit length or less; made of all texts alike, whichever side they are of.

    Args:
        texts: of both sides.
        embedding: folder of an embedding model; null for TF-IDF.
        seed: of the decomposition.

    Raises:
        UserError: the embedding model cannot be used.
    """
    return np.round(_embedded(texts, embedding) if embedding else _reduced(texts, seed), DECIMALS)


def _embedded(texts: Sequence[str], folder: Path) -> Floats:
    from evals.retrieval.embedding import EmbeddingIndex
    from evals.retrieval.passages import Passage

    passages = [Passage(f"{at:09}", "", text) for at, text in enumerate(texts)]  # the index sorts them by id
    try:
        return EmbeddingIndex(passages, folder).vectors.astype(np.float64)
    except UserError as error:
        (problem,) = error.problems
        raise UserError(
            problem.what,
            where=f"drift.embedding: {folder}",
            found=problem.found,
            expected=problem.expected,
            help="set drift.embedding to null, or to the folder of such a model",
        ) from error


def _reduced(texts: Sequence[str], seed: int) -> Floats:
    """TF-IDF of words and of runs of three letters, weighted alike, and its largest singular directions."""
    from scipy.sparse import hstack
    from sklearn.decomposition import TruncatedSVD

    parts = [part for part in (_words(texts), _letters(texts)) if part is not None]
    if not parts:
        return np.zeros((len(texts), 1))
    weighted = hstack(parts, format="csr") / np.sqrt(len(parts))
    most = min(DIMENSIONS, min(weighted.shape) - 1)
    if most < 1:
        return np.zeros((len(texts), 1))
    found: Floats = TruncatedSVD(most, n_iter=2, random_state=seed).fit_transform(weighted)
    return found


def _words(texts: Sequence[str]) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    return _weighted(TfidfVectorizer(analyzer=words_of, sublinear_tf=True, max_features=MAX_WORDS), texts)


def _letters(texts: Sequence[str]) -> Any:
    from sklearn.feature_extraction.text import TfidfVectorizer

    made = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 3), sublinear_tf=True, max_features=MAX_LETTERS)
    return _weighted(made, texts)


def _weighted(vectorizer: Any, texts: Sequence[str]) -> Any:
    try:
        return vectorizer.fit_transform(texts)
    except ValueError:  # no text holds any
        return None
