"""What `assay compare` found: the arms side by side, what they cost, and which of them serves the task."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from schemas.base import Strict
from schemas.compare_config import Prices
from schemas.verdict import Outcome


class Measured(Strict):
    """A mean with its two-sided interval; ends that do not exist are null."""

    estimate: float | None
    low: float | None
    high: float | None
    items: int
    clusters: int
    """Groups of items that are independent of each other."""
    method: str


class PairDifference(Measured):
    """Quality of one arm minus that of another on the same items."""

    arm: str
    other: str
    gained: int
    """Items on which the arm is better."""
    lost: int


class Latency(Strict):
    """Seconds of answers that were asked one by one."""

    timed: int
    mean: float
    p50: float
    p95: float


class Cost(Strict):
    """What an arm costs, in `Compared.unit`; null where it has no price."""

    per_answer: float | None
    fixed: float | None
    """Before the first answer: training, building an index. Paid again with each training."""
    total: float | None
    """Fixed cost and `Compared.volume` answers."""


class BreakEven(Strict):
    """From how many answers of one training on an arm that was trained costs less than another."""

    arm: str
    other: str
    kind: Literal["always", "from", "up_to", "never", "unknown"]
    answers: float | None
    per_day: float | None
    """The same, divided by the days between two trainings."""


class ArmJudged(Strict):
    """One arm: what it scored, how it behaved, what it cost."""

    name: str
    title: str
    status: Literal["ran", "failed", "not_applicable"]
    reason: str
    model: str
    facts: dict[str, Any]
    standing: Literal["recommended", "good_enough", "in_the_race", "out", "failed", "not_applicable"]
    """good_enough: shown to be less than the margin below every other. out: another is shown to be better."""
    quality: Measured | None = None
    """Mean score, at level 1 - alpha on its own; an answer that failed counts 0."""
    failed_answers: int = 0
    to_base: PairDifference | None = None
    to_leader: PairDifference | None = None
    """To the recommended arm, or to the one with the best mean where none is recommended."""
    formatted: Measured | None = None
    """Share of answers in the form that was asked for."""
    fresh: Measured | None = None
    """Quality on items that are marked as newer than the training rows."""
    not_fresh: Measured | None = None
    """Quality on the others, where some are marked."""
    agreement: Measured | None = None
    """Share of paraphrases of a question that got the same answer as the question."""
    latency: Latency | None = None
    tokens_in: float | None = None
    """Mean of an answer."""
    tokens_out: float | None = None
    grounded: float | None = None
    """Mean share of an answer's content words that stand in the retrieved passages."""
    grounded_items: int = 0
    cut: int = 0
    """Items whose context was truncated."""
    cost: Cost | None = None
    on_front: bool = False
    """No other arm is as good for less, or better for as much, by the means."""


class Recommendation(Strict):
    """What follows from the intervals."""

    arm: str | None
    """The arm that the evidence names, among those that ran."""
    headline: str
    sentences: tuple[str, ...]
    shown_best: bool = False
    """Every other arm is shown to be worse, not only not better by the margin."""
    good_enough: tuple[str, ...] = ()
    in_the_race: tuple[str, ...] = ()
    """Arms that may be the best."""
    out: tuple[str, ...] = ()
    could_change: tuple[str, ...] = ()
    """Arms that failed and may be better by the margin or more."""
    open_and_cheaper: tuple[str, ...] = ()
    """Arms that cost less than the recommended one and are not settled."""
    items_needed: int | None = None
    """Items in all that would decide, with power 0.8, were the measured differences the true ones."""
    more_items: int | None = None


class Compared(Strict):
    """`compare.json`: the arms on the same items, judged."""

    schema_: Literal["assay/compare/1"] = Field(default="assay/compare/1", alias="schema")
    outcome: Outcome
    """pass: the evidence names an arm. inconclusive: it does not."""
    recommendation: Recommendation
    metric: str
    items: int
    clusters: int
    alpha: float
    """Of all comparisons with the arm that is truly best, and with the floor, together."""
    level: float
    """Of each interval of a difference: 1 - alpha / arms compared."""
    margin: float
    """Quality that may be given up for a cheaper arm."""
    floor: str
    """What an arm must be shown to beat."""
    floor_quality: Measured | None
    unit: str
    """Currency of the costs, or `s` where there are no prices."""
    volume: int
    """Answers for which total costs are told."""
    prices: Prices
    arms: tuple[ArmJudged, ...]
    differences: tuple[PairDifference, ...]
    """Of every two arms that ran, the second as it stands in `arms`."""
    break_even: tuple[BreakEven, ...]
    retrieval: dict[str, Any]
    """As the run wrote it: what the guard removed, how often the right passage was found."""
    notes: tuple[str, ...]
    """What limits the comparison: missing prices, few timed answers."""

    model_config = Strict.model_config | {"populate_by_name": True, "serialize_by_alias": True}
