"""What `assay sweep` publishes as `sweep.json`."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from schemas.base import Strict


class Trial(Strict):
    """One training of a sweep."""

    number: int
    """0 is `train` as the config has it."""
    settings: dict[str, Any]
    """Name -> value, of every setting that the sweep varies."""
    state: Literal["passed", "rejected", "pruned", "failed"]
    """passed: finished, and the overfitting watch has nothing against it; rejected: it has; pruned: given up while
    training; failed: training diverged, or the accelerator's memory did not suffice."""
    reason: str = ""
    same_as: int | None = None
    """An earlier trial with the same settings, whose outcome this is."""
    folder: str | None = None
    """Of the training, below the folder of results."""
    validation_loss: float | None = None
    """Nats a supervised token of the published weights, over the validation rows that all trials are compared on."""
    gain_gap: float | None = None
    """At the published step, in nats a token."""
    published_step: int | None = None
    curve: list[tuple[float, float]] = Field(default_factory=list)
    """Epochs, and the held-out loss of the watch's sample after them."""


class Advantage(Strict):
    """How much lower the winner's validation loss is than another trial's, on the same rows."""

    over: int
    """Number of the other trial."""
    nats: float
    lower: float
    """One-sided 95% bound that allows for the choice among all trials that could have won."""
    told_apart: bool
    """The bound is above 0."""


class Selection(Strict):
    """What choosing by the validation split did to its figures."""

    rows: int
    """Validation rows that finished trials were compared on."""
    components: int
    """Groups of them that are independent of each other."""
    looks: int
    """Trainings whose published weights were measured on these rows."""
    looks_while_training: int
    """Measurements of the watch's sample of the validation split, over all trials."""
    candidates: int
    """Trials that could have won, settings that came twice counted once."""
    expected_loss: float | None
    """Of the winner on rows that it was not chosen by; null where there are too few components to say."""
    optimism: float | None
    """`expected_loss` minus the winner's validation loss."""
    over_default: Advantage | None
    """Against `train` as the config has it; null where it won, did not finish, or cannot be compared."""
    over_runner_up: Advantage | None
    test_split: Literal["not read"] = "not read"


class SweepResults(Strict):
    """All trials, the winner, and what the search did to its figures."""

    schema_: Literal["assay/sweep/1"] = Field(default="assay/sweep/1", alias="schema")
    trials: list[Trial]
    winner: int | None
    """Number of the trial with the least validation loss among those that passed; null if none did."""
    max_gain_gap: float
    selection: Selection | None
    """Null without a winner."""

    model_config = Strict.model_config | {"populate_by_name": True, "serialize_by_alias": True}
