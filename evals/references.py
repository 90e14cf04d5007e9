"""What needs no language model: the most frequent label, and a bag-of-words classifier trained on the same rows.

A fine-tuned model that does not beat them adds nothing that a far cheaper program would not.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

MAX_LABELS = 20
"""Answers of more kinds than this are text, not labels."""
Classifier = Callable[[Sequence[str]], list[str]]


def why_none(answers: Sequence[str]) -> str:
    """Why there are no references for these trained answers; empty where there are."""
    kinds = len(set(answers))
    if kinds == 0:
        return "the rows that were trained are not known"
    return f"the trained answers are text, not labels: {kinds} kinds" if kinds > MAX_LABELS else ""


def majority(answers: Sequence[str], items: int) -> list[str]:
    """The most frequent trained answer for every item; of equally frequent ones the first in the alphabet.

    Args:
        answers: of the trained rows, at least one.
        items: how many predictions.
    """
    counts = Counter(answers)
    return [min(counts, key=lambda label: (-counts[label], label))] * items


def bag_of_words(texts: Sequence[str], answers: Sequence[str], items: Sequence[str], seed: int) -> list[str]:
    """Predictions of logistic regression on TF-IDF of words and word pairs.

    Args:
        texts: prompts of the trained rows.
        answers: their labels.
        items: prompts to be labelled.
        seed: of the optimiser.
    """
    return trained_classifier(texts, answers, seed)(items)


def trained_classifier(texts: Sequence[str], answers: Sequence[str], seed: int) -> Classifier:
    """The classifier behind `bag_of_words`, which takes prompts and gives labels.

    Args: as there.
    """

    def most_frequent(items: Sequence[str]) -> list[str]:
        return majority(answers, len(items))

    if len(set(answers)) < 2:
        return most_frequent
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
    try:
        features = words.fit_transform(texts)
    except ValueError:  # no text holds a word
        return most_frequent
    classifier = LogisticRegression(C=10.0, max_iter=2000, random_state=seed)
    classifier.fit(features, list(answers))
    return lambda items: [str(label) for label in classifier.predict(words.transform(items))]
