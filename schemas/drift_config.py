"""`drift`: when newly collected rows count as other than the dataset's."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from schemas.base import Count, PathText, Seed, Share, Strict

Bound = Annotated[float, Field(gt=0.0, lt=1.0)]


class DriftBounds(Strict):
    """Differences from which on it is worth training again; smaller ones are of no consequence, however certain."""

    classifier: Annotated[float, Field(gt=0.5, lt=1.0)] = 0.55
    """Area under the curve of a classifier that tells new rows from the dataset's; 0.5 is chance. New rows of which a
    share s is unlike anything known give up to (1 + s) / 2."""
    new_topic: Bound = 0.05
    """Share of new rows of one topic, beyond its share of the dataset's rows."""
    topics: Bound = 0.2
    """Cramer's V of how rows spread over the topics, as if both sides were equally large."""
    vocabulary: Bound = 0.05
    """Share of a row's words that the dataset does not know, beyond that of its own held-out rows."""
    length: Bound = 0.147
    """Cliff's delta of the texts' lengths; smaller ones are called negligible (Romano and others 2006)."""
    labels: Bound = 0.1
    """Cramer's V of the labels, as if both sides were equally large."""
    new_labels: Bound = 0.02
    """Share of new rows with a label that the dataset does not have."""


class DriftConfig(Strict):
    """What `assay drift` compares new rows by, and what a difference must be."""

    alpha: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.05
    """Most false alarms over all measurements together; each end of an interval holds with 1 - alpha."""
    bounds: DriftBounds = DriftBounds()
    margin: Share = 0.05
    """Score that the model may lose on new rows, with --score."""
    items: Count | None = 200
    """Most new rows and most test rows that the model is asked, with --score; null takes all."""
    embedding: PathText | None = None
    """Folder of an embedding model for topics and classifier; null takes TF-IDF reduced by a singular value
    decomposition."""
    max_rows: Annotated[int, Field(ge=100, lt=1 << 31)] = 10_000
    """Most rows of either side that are compared, drawn at random."""
    permutations: Annotated[int, Field(ge=199, le=100_000)] = 999
    """Exchanges of new and known rows behind a p-value."""
    rows: Count = 200
    """Rows that are written out, those first that differ most."""
    seed: Seed = 0
