"""What `assay drift` found: whether new rows still look like the rows of a dataset, and which do not."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from schemas.base import Strict
from schemas.verdict import Outcome

Word = Literal["fine", "drifted", "open", "not_applicable"]


class DriftEffect(Strict):
    """How large one difference is."""

    estimate: float
    low: float
    high: float
    """Each end of the interval alone holds with 1 - alpha."""
    bound: float
    """Differences from here on count."""
    p: float
    """Of no difference at all."""
    method: str


class DriftMeasurement(Strict):
    """One way to look at the two sides, and what it says."""

    name: str
    title: str
    outcome: Outcome
    word: Word
    """fine: a difference of the bound is ruled out. drifted: it is there, beyond chance. open: neither."""
    message: str
    """One sentence in plain words."""
    effect: DriftEffect | None = None
    """Null where it was not measured."""
    p_adjusted: float | None = None
    """Holm's, over all measurements."""
    new_rows: int = 0
    """New rows that it rests on."""
    known_rows: int = 0
    """Rows of the dataset that they were compared with."""
    rows_to_decide: int | None = None
    """Distinct new rows that would about decide; null where it is decided, or where no number would."""
    facts: dict[str, Any] = Field(default_factory=dict)


class RowAccount(Strict):
    """What became of the new rows: read = unreadable + dropped + compared + copies + known + not_drawn."""

    read: int
    unreadable: int
    """Records of no known shape, named in `unreadable_at`."""
    dropped: int
    """By the dataset's own steps that look at a row alone."""
    dropped_by: dict[str, int]
    """Rule -> rows."""
    copies: int
    """Near-duplicates, or rows of one group, of which another new row stands for all."""
    known: int
    """Near-duplicates of rows of the dataset, or of their groups, for which a row of the dataset stands."""
    not_drawn: int
    """Beyond `drift.max_rows`."""
    compared: int
    like_known: int
    """Rows that are near-duplicates of rows of the dataset, or of one group with them, whichever of them was drawn."""
    changed: int
    """Redacted or repaired as the dataset was."""
    unreadable_at: tuple[str, ...]
    """file:line of the first of them."""


class DriftRow(Strict):
    """A new row that is unlike the dataset."""

    place: str
    """file:line."""
    row_id: str
    unlike: float
    """Share of the compared new rows that the classifier takes less for new ones; it had not seen this row."""
    far: float
    """Share of the dataset's held-out rows that are nearer to a known topic."""
    new_label: bool
    copies: int
    """New rows that this one stands for, itself included."""
    text: str
    """Its beginning."""


class DriftScore(Strict):
    """The model's score on new rows beside that on the test split."""

    outcome: Outcome
    word: Word
    message: str
    metric: str = ""
    new: float | None = None
    test: float | None = None
    difference: float | None = None
    low: float | None = None
    high: float | None = None
    margin: float
    new_items: int = 0
    test_items: int = 0
    rows_to_decide: int | None = None


class Drift(Strict):
    """`drift.json`."""

    schema_: Literal["assay/drift/1"] = Field(default="assay/drift/1", alias="schema")
    outcome: Outcome
    headline: str
    sentences: tuple[str, ...]
    alpha: float
    dataset: str
    """Name of the dataset."""
    subject: dict[str, str]
    """Role -> sha256: dataset, new rows."""
    rows: RowAccount
    known_rows: int
    """Distinct rows of the dataset that were compared."""
    measurements: tuple[DriftMeasurement, ...]
    placebo: tuple[DriftMeasurement, ...]
    """The same for the dataset's own validation and test rows in the place of the new ones."""
    score: DriftScore
    matter_most: tuple[DriftRow, ...]
    notes: tuple[str, ...]

    model_config = Strict.model_config | {"populate_by_name": True, "serialize_by_alias": True}
