"""Whether new rows spread over the topics as known ones do."""

from __future__ import annotations

from typing import Any

import numpy as np

from evals.drift.sample import Draw, Found, Sample
from evals.drift.shift import shift_of
from schemas.drift import DriftEffect

NAME = "topics"
TITLE = "Spread over topics"


def applies(sample: Sample) -> str:
    """Why it says nothing; empty where it applies."""
    return sample.why_no_topics


def measure(sample: Sample, bound: float, draw: Draw) -> Found:
    """Cramer's V of topic and side.

    Args:
        sample: both sides.
        bound: V from which on the difference counts.
        draw: how chance is drawn.
    """
    topics = sample.topics
    kinds = int(topics.max()) + 1
    new = np.bincount(topics[sample.new], minlength=kinds)
    known = np.bincount(topics[~sample.new], minlength=kinds)
    found = shift_of(new, known, draw)
    effect = DriftEffect(
        estimate=found.v,
        low=found.low,
        high=found.high,
        bound=bound,
        p=found.p,
        method="Cramer's V, non-central chi-square interval, exact test by draws",
    )
    shares: dict[str, Any] = {
        "topics": kinds,
        "new_shares": [round(float(share), 4) for share in new / new.sum()],
        "known_shares": [round(float(share), 4) for share in known / known.sum()],
    }
    told = f"new rows spread over {kinds} topics with a Cramer's V of {found.v:.2f} beside the known, 0 being alike"
    return Found(effect, told, int(new.sum()), int(known.sum()), shares)
