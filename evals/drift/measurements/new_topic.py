"""Whether there is a topic that new rows have and known ones have not, or hardly."""

from __future__ import annotations

from collections import Counter
from statistics import NormalDist

import numpy as np

from evals.drift.sample import Draw, Flags, Floats, Found, Sample
from schemas.drift import DriftEffect

NAME = "new_topic"
TITLE = "A topic that is new"
TERMS = 8
"""Words that tell a topic."""


def applies(sample: Sample) -> str:
    """Why it says nothing; empty where it applies."""
    return sample.why_no_topics


def measure(sample: Sample, bound: float, draw: Draw) -> Found:
    """How much larger the share of one topic is among new rows, for the topic that grew most.

    The upper end holds for whichever topic truly grew most, being the largest of all topics' own upper ends; the lower
    end is that of the chosen topic, corrected for the choice among all.

    Args:
        sample: both sides.
        bound: difference of the shares from which on it counts.
        draw: how chance is drawn.
    """
    topics = sample.topics
    kinds = int(topics.max()) + 1
    is_topic = (topics[:, None] == np.arange(kinds)).astype(np.float64)
    grown = _growth(is_topic, sample.new[:, None])[:, 0]
    by_chance = _growth(is_topic, draw.exchanges(sample.new)).max(axis=0)
    chosen = int(grown.argmax())
    low, _ = _ends(is_topic, sample.new, draw.alpha / kinds)
    _, high = _ends(is_topic, sample.new, draw.alpha)
    effect = DriftEffect(
        estimate=float(grown[chosen]),
        low=float(low[chosen]),
        high=float(high.max()),
        bound=bound,
        p=draw.p_value(float(grown[chosen]), by_chance),
        method="largest difference of shares over topics, Newcombe's interval, permutation test",
    )
    new, known = int(sample.new.sum()), int((~sample.new).sum())
    terms = telling_words(sample, topics == chosen)
    there = topics == chosen
    told = (
        f"the topic that grew most has {there[sample.new].mean():.1%} of the new rows and "
        f"{there[~sample.new].mean():.1%} of the known ones ({', '.join(terms)})"
    )
    return Found(effect, told, new, known, {"topics": kinds, "words": terms})


def _growth(is_topic: Floats, sides: Flags) -> Floats:
    """Share among new rows less share among known ones: [topics, columns of sides]."""
    new = is_topic.T @ sides.astype(np.float64)
    count = sides.sum(axis=0)
    known = is_topic.sum(axis=0)[:, None] - new
    return np.asarray(new / count - known / (len(sides) - count))


def _ends(is_topic: Floats, new: Flags, level: float) -> tuple[Floats, Floats]:
    """Newcombe's interval of each topic's growth, each end at this level (Newcombe 1998, Stat. Med. 17:873-890)."""
    first, second = is_topic[new].mean(axis=0), is_topic[~new].mean(axis=0)
    low_first, high_first = _wilson(first, int(new.sum()), level)
    low_second, high_second = _wilson(second, int((~new).sum()), level)
    growth = first - second
    low = growth - np.hypot(first - low_first, high_second - second)
    return np.asarray(low), np.asarray(growth + np.hypot(high_first - first, second - low_second))


def _wilson(share: Floats, rows: int, level: float) -> tuple[Floats, Floats]:
    z = NormalDist().inv_cdf(1 - level)
    middle = share + z * z / (2 * rows)
    reach = z * np.sqrt(share * (1 - share) / rows + z * z / (4 * rows * rows))
    return (middle - reach) / (1 + z * z / rows), (middle + reach) / (1 + z * z / rows)


def telling_words(sample: Sample, chosen: Flags) -> list[str]:
    """Words that the rows of a topic have more often than the other rows, the most telling first."""
    inside: Counter[str] = Counter()
    outside: Counter[str] = Counter()
    for words, here in zip(sample.words, chosen, strict=True):
        (inside if here else outside).update(set(words))
    rows, others = max(1, int(chosen.sum())), max(1, int((~chosen).sum()))
    told = {word: count / rows - outside[word] / others for word, count in inside.items() if len(word) > 1}
    return sorted(told, key=lambda word: (-told[word], word))[:TERMS]
