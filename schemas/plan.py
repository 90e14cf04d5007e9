"""What `assay plan` prints as JSON."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from schemas.base import Strict
from schemas.verdict import Check, Outcome


class PlannedDevice(Strict):
    """Where training would run."""

    name: str
    """`cpu`, or the GPU's name."""
    dtype: str
    """What is computed in: float32 or bfloat16."""
    free_bytes: int | None
    """Memory that is free there now; null where the system does not say."""


class PlannedParameters(Strict):
    """Counts of weights."""

    base: int
    """Of the model without an adapter; tied weights count once."""
    trained: int
    adapter: dict[str, int]
    """Target module -> weights of its adapters in all layers; empty for full fine-tuning."""


class PlannedRows(Strict):
    """What would be trained in one pass, from the same ledger that training checks itself against."""

    in_split: int
    not_chosen: int
    """Rows that `train.max_examples` leaves out."""
    trained: int
    truncated: int
    """Rows that are cut to `train.max_length`."""
    truncated_tokens: int
    tokens: int
    supervised_tokens: int
    padded_tokens: int
    """What the model computes: every batch padded to its longest row."""
    epochs: int
    steps: int
    """Optimiser steps of the whole run."""


class PlannedBatch(Strict):
    """Memory of a step on one batch, at the moment when most is needed."""

    sequences: int
    tokens: int
    """Of the longest sequence."""
    parts: dict[str, int]
    """Bytes of weights, adapter, gradients, optimizer, activations, logits, cache (of generation) and scratch."""
    overhead: int
    """Bytes of the process without any tensor."""
    tensors: int
    """Bytes of all parts."""
    total: int
    """Bytes that the process needs."""
    fitting: int | None
    """Largest `train.batch_size` whose batches fit into the free memory; null where that is not known."""


class PlannedMemory(Strict):
    """Memory at the rows' own lengths and at the longest that the config allows."""

    longest: PlannedBatch
    """The batch of the run that needs most."""
    full_length: PlannedBatch
    """A batch of rows of `train.max_length`."""


class PlannedTime(Strict):
    """Seconds of training, from steps that were timed on this machine."""

    seconds: float
    low: float
    high: float
    start: float
    """Loading weights."""
    training: float
    watching: float
    """Measuring held-out and other samples."""
    checkpoints: float
    timed_steps: int


class PlannedCost(Strict):
    """Hours times `train.price_per_hour`."""

    price_per_hour: float
    cost: float
    low: float
    high: float


class PlannedStage(Strict):
    """What is there of a stage already."""

    stage: str
    state: Literal["finished", "begun", "to do"]
    detail: str
    """What follows from it."""
    path: str | None
    """Its manifest, where it is finished."""


class Plan(Strict):
    """What a config would do and take from here on."""

    schema_: Literal["assay/plan/1"] = Field(default="assay/plan/1", alias="schema")
    name: str
    method: str
    base_model: str
    device: PlannedDevice
    parameters: PlannedParameters
    rows: PlannedRows
    memory: PlannedMemory | None
    """Null where a step of this model cannot be computed from its shapes."""
    time: PlannedTime | None
    """Null without calibration, and where there is nothing to train."""
    time_note: str
    """Why there is no time, or what it rests on."""
    cost: PlannedCost | None
    """Null without a time or without a price."""
    stages: tuple[PlannedStage, ...]
    """curate, gate data, train, evals: what is reused, and what is to do."""
    checks: tuple[Check, ...]
    """Whether memory suffices, what the data gate said, and what the items of each gated task can show."""
    outcome: Outcome
    """pass: exit 0. fail: the run cannot succeed, exit 1. inconclusive: something cannot be decided, exit 4."""

    model_config = Strict.model_config | {"populate_by_name": True, "serialize_by_alias": True}
