"""A classifier that sees the text of rows and no language model, asked which of them were trained.

Where it can tell, trained and test rows are of different kinds, and a model's losses on them may differ without any
memory of rows: blind baselines beat most published membership attacks on such data (Das, Zhang and Tramer 2024, "Blind
Baselines Beat Membership Inference Attacks for Foundation Models", arXiv 2406.16201).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

FOLDS = 5


def blind_scores(texts: Sequence[str], trained: Sequence[bool], clusters: Sequence[int], seed: int) -> list[float]:
    """How much each text looks like a trained one, by a classifier that saw nothing of its cluster.

    Logistic regression on TF-IDF of words and word pairs, in `FOLDS` folds of whole clusters.

    Args:
        texts: of the rows.
        trained: whether each is a trained one; both kinds must have at least `FOLDS` clusters.
        clusters: of the rows.
        seed: of the folds and the optimiser.

    Returns:
        A probability a text; 0.5 where no text of the other folds holds a word.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.model_selection import StratifiedGroupKFold

    labels, documents = np.array(trained, dtype=np.int64), np.array(texts, dtype=object)
    found = np.full(len(labels), 0.5)
    folds = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=seed)
    for seen, unseen in folds.split(labels, labels, np.array(clusters)):
        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"(?u)\S+")
        try:
            features = words.fit_transform(documents[seen])
        except ValueError:  # no text holds a word
            continue
        classifier = LogisticRegression(max_iter=2000, random_state=seed, class_weight="balanced")
        classifier.fit(features, labels[seen])
        found[unseen] = classifier.predict_proba(words.transform(documents[unseen]))[:, 1]
    return [round(float(value), 6) for value in found]
