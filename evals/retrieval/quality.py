"""How well retrieval finds what it should by itself, and how much of an answer stands in what was found."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np

from evals.retrieval.passages import Passage
from evals.retrieval.search import Hit
from evals.retrieval.words import content_words, spoken
from evals.stats import clustered_mean, proportion

ALPHA = 0.05
"""1 - level of the intervals."""


def retrieval_quality(
    hits: Sequence[Sequence[Hit]],
    gold: Sequence[Collection[str] | None],
    ks: Collection[int],
    *,
    passages: Sequence[Passage] | None = None,
    clusters: Sequence[int] | None = None,
) -> dict[str, Any]:
    """Recall at several ranks and the mean reciprocal rank, over the items whose gold passage is known.

    An item's gold are names, each of a passage (its id), of a record or a file (all of its passages), of a line
    (`file:line`), or a piece of text that stands in the passage, case and punctuation aside. One of them is enough:
    recall@k is the share of items with a gold passage among the first k.

    Args:
        hits: for each item what was found, best first; at least `max(ks)` where there was as much.
        gold: for each item its gold; null where nobody knows it.
        ks: ranks.
        passages: all that could be found; with them, items whose gold is not among them are counted.
        clusters: for each item, what it is not independent of; null where all are.

    Returns:
        `items` with gold; `recall_at_k`, by rank as text, and `mrr`, each an interval (`Interval.as_dict`), null
        without items; `gold_missing`, how many of the items' gold are not among the passages, null without those.
    """
    known = [at for at, names in enumerate(gold) if names]
    if not known:
        return {"items": 0, "recall_at_k": None, "mrr": None, "gold_missing": None}
    wanted = [Gold(gold[at] or ()) for at in known]
    ranks = np.array([one.rank([hit.passage for hit in hits[at]]) for at, one in zip(known, wanted, strict=True)])
    groups = np.array([at if clusters is None else clusters[at] for at in known])
    recall = {str(k): proportion((ranks <= k).astype(float), groups, ALPHA).as_dict() for k in sorted(set(ks))}
    missing = None if passages is None else sum(not np.isfinite(one.rank(passages)) for one in wanted)
    mrr = clustered_mean(1 / ranks, groups, ALPHA).as_dict()
    return {"items": len(known), "recall_at_k": recall, "mrr": mrr, "gold_missing": missing}


class Gold:
    """What an item's gold passage is called, or says.

    Args:
        names: any of them is enough.
    """

    def __init__(self, names: Collection[str]) -> None:
        self._names = {name.strip() for name in names if name.strip()}
        self._said = [text for text in map(spoken, sorted(self._names)) if text.strip()]

    def fits(self, passage: Passage) -> bool:
        """Whether a passage is one of those that are meant."""
        file = passage.source.rpartition(":")[0]
        called = {passage.passage_id, passage.source, passage.document, file, *passage.also}
        called |= {one.rpartition(":")[0] for one in passage.also}
        return bool(self._names & called) or self._says(passage)

    def _says(self, passage: Passage) -> bool:
        said = spoken(passage.text) if self._said else ""
        return any(text in said for text in self._said)

    def rank(self, passages: Sequence[Passage]) -> float:
        """Place of the first passage that fits, from 1; infinite where none does."""
        return next((float(at) for at, one in enumerate(passages, start=1) if self.fits(one)), float("inf"))


def groundedness(answer: str, passages: Sequence[Passage], labels: Collection[str] = ()) -> float | None:
    """Share of the answer's different content words that stand in the passages; lexical, so no proof of truth.

    Args:
        answer: of a model.
        passages: that it was shown.
        labels: answers between which the task chooses.

    Returns:
        Null for a label, and for an answer without content words; 0 without passages.
    """
    folded = answer.strip().casefold()
    if folded in {label.strip().casefold() for label in labels}:
        return None
    said, *shown = content_words([answer, *(passage.text for passage in passages)])
    if not said:
        return None
    held = {word for words in shown for word in words}
    return len(set(said) & held) / len(set(said))
