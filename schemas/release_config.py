"""`release`: what is exported, how close it must stay to what was judged, and what the card says of rights."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import Field, model_validator

from schemas.base import Count, Seed, Strict

Words = Annotated[str, Field(min_length=1, pattern=r"\S")]
Licence = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.+_-]{0,63}$")]
"""An identifier such as apache-2.0, as SPDX and the model hub spell it."""
Language = Annotated[str, Field(pattern=r"^[a-z]{2,3}(-[A-Za-z0-9]{1,8})*$")]
HubId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?$")]


class CardConfig(Strict):
    """What nobody can measure. What is not given is said to be unknown; nothing is guessed."""

    license: Licence | None = None
    """Of the released weights."""
    base_model: HubId | None = None
    """Hub id of the base model; null takes what `train.base_model` tells."""
    base_model_license: Licence | None = None
    """Of the base model; null takes what is known of a bundled one."""
    data_license: Words | None = None
    """Of the rows that the model was tuned on."""
    data_source: Words | None = None
    """Where the rows come from, in a sentence."""
    datasets: list[HubId] = Field(default_factory=list)
    """Hub ids of published datasets that the rows come from."""
    language: list[Language] = Field(default_factory=list)
    """Codes of the languages that the model answers in, such as en."""
    intended_use: Words | None = None
    """What the model is for, in a sentence or two."""
    limits: list[Words] = Field(default_factory=list)
    """Known limits that no gate measures, each a sentence; those that follow from the evidence are listed anyway."""


class ReleaseConfig(Strict):
    """What `assay release` exports, and what an exported model must show before it is published."""

    targets: list[Words] = Field(default_factory=lambda: ["adapter", "merged"], min_length=1)
    """Names of what is exported: adapter, merged, gguf-f16, gguf-q8_0, gguf-q4_0."""
    sequences: Count = 100
    """Sequences of the test split on which exported and judged model are compared token by token; all, if fewer."""
    max_log_p: Annotated[float, Field(gt=0.0)] = 1e-3
    """Largest difference of a token's log-probability, in nats, for exports that lose nothing."""
    max_kl: Annotated[float, Field(gt=0.0)] = 0.05
    """Largest mean KL divergence from the judged model, in nats per token, for 16 bits and quantised exports: the upper
    end of its interval must be below."""
    margin: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.02
    """Largest difference of a task's score, either way: the whole paired interval must lie within it."""
    alpha: Annotated[float, Field(gt=0.0, lt=0.5)] = 0.05
    """Level of the two-sided intervals."""
    seed: Seed = 0
    card: CardConfig = CardConfig()

    @model_validator(mode="after")
    def _each_target_once(self) -> Self:
        twice = sorted({name for name in self.targets if self.targets.count(name) > 1})
        if twice:
            raise ValueError(f"`targets` names {', '.join(twice)} more than once")
        return self
