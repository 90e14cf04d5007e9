"""The `sweep` section of `assay.yaml` as typed models: what is varied, between which values, how often."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Annotated, Any, Self

from pydantic import Field, ValidationError, field_validator, model_validator

from schemas.base import Count, Seed, Strict
from schemas.train_config import TrainConfig

SETTINGS: dict[str, type] = {
    "learning_rate": float,
    "epochs": int,
    "batch_size": int,
    "gradient_accumulation": int,
    "schedule": str,
    "warmup_steps": int,
    "weight_decay": float,
    "max_grad_norm": float,
    "packing": bool,
    "lora.r": int,
    "lora.lora_alpha": int,
    "lora.lora_dropout": float,
    "lora.target_modules": list,
    "lora.last_layers": int,
    "lora.use_rslora": bool,
    "lora.use_dora": bool,
    "lora.init": str,
}
"""Settings of `train` that may be varied, and what they are. All leave the validation loss of two trials comparable;
another base model, method or max_length would not, and the seed is no setting to choose by."""
METHODS = ("sft", "text", "full")
"""Methods whose validation loss is one of the rows' own tokens, measured row by row."""


class Setting(Strict):
    """Values of one setting: a list, or a range of numbers."""

    choices: list[Any] | None = Field(default=None, min_length=1)
    low: int | float | None = None
    high: int | float | None = None
    """Included."""
    log: bool = False
    """Draw evenly on the logarithm, as suits a learning rate."""

    @model_validator(mode="after")
    def _is_one_of_both(self) -> Self:
        ends = (self.low, self.high)
        if (self.choices is None) == (ends == (None, None)) or (None in ends and ends != (None, None)):
            raise ValueError("needs either `choices`, a list, or both `low` and `high`, and not all of them")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ValueError(f"`low` {self.low:g} is above `high` {self.high:g}")
        if self.log and (self.low is None or self.low <= 0):
            raise ValueError("`log` needs a range whose `low` is above 0")
        return self

    @property
    def corners(self) -> list[Any]:
        """Every choice, or both ends of the range."""
        return list(self.choices) if self.choices is not None else [self.low, self.high]


ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
DEFAULT_SPACE = {
    "learning_rate": Setting(low=1e-4, high=3e-3, log=True),
    "epochs": Setting(choices=[1, 2, 3]),
    "lora.r": Setting(choices=[4, 8, 16, 32]),
    "lora.lora_alpha": Setting(choices=[8, 16, 32]),
    "lora.target_modules": Setting(choices=[ATTENTION, [*ATTENTION, "gate_proj", "up_proj", "down_proj"]]),
}


class SweepConfig(Strict):
    """A search over settings of `train`; the first trial is `train` as it stands."""

    trials: Annotated[int, Field(ge=2, le=10_000)] = 12
    """Trainings, the first one with the settings of `train` included."""
    space: dict[str, Setting] = Field(default=DEFAULT_SPACE, min_length=1)
    """Name of a setting of `train`, such as learning_rate or lora.r -> the values that it may take."""
    prune: bool = True
    """Give up a trial whose held-out loss is above the median of the finished trials at the same point of training.
    There is something to prune by where `train.watch` measures between the start and the end."""
    validation_rows: Count | None = 300
    """Most rows of the validation split that finished trials are compared on, one at a time; null takes all."""
    seed: Seed = 0

    @field_validator("space")
    @classmethod
    def _is_of_train(cls, space: dict[str, Setting]) -> dict[str, Setting]:
        faults: list[str] = []
        checked = {name: _checked(name, setting, faults) for name, setting in space.items()}
        if faults:
            raise ValueError("; ".join(faults))
        return checked


def _checked(name: str, setting: Setting, faults: list[str]) -> Setting:
    """The setting with its values as `train` takes them."""
    kind = SETTINGS.get(name)
    if kind is None:
        faults.append(f"`{name}` cannot be varied; these can: {', '.join(SETTINGS)}")
        return setting
    if setting.choices is None and kind not in (int, float):
        faults.append(f"`{name}` is no number: give `choices`")
        return setting
    found = []
    for value in setting.corners:
        try:
            found.append(setting_of(with_settings(TrainConfig(), {name: value}), name))
        except ValidationError as error:
            said = str(error.errors()[0]["msg"]).removeprefix("Value error, ")
            faults.append(f"`{name}` cannot be {value!r:.80}: {said}")
    if len(found) < len(setting.corners):
        return setting
    if setting.choices is None:
        return setting.model_copy(update={"low": found[0], "high": found[1]})
    if any(value in found[:place] for place, value in enumerate(found)):
        faults.append(f"`{name}` has a choice twice")
    return setting.model_copy(update={"choices": found})


def with_settings(config: TrainConfig, settings: Mapping[str, Any]) -> TrainConfig:
    """The config of one trial.

    Args:
        config: the `train` section.
        settings: name such as `learning_rate` or `lora.r` -> value.

    Raises:
        ValidationError: a value is not valid, or does not go with the others.
    """
    return TrainConfig.model_validate(with_values(config.model_dump(), settings))


def with_values(section: Mapping[str, Any], settings: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the `train` section as plain data, with the values of some settings."""
    given = copy.deepcopy(dict(section))
    for name, value in settings.items():
        part, _, key = name.rpartition(".")
        (given.setdefault(part, {}) if part else given)[key] = value
    return given


def setting_of(config: TrainConfig, name: str) -> Any:
    """The value of a setting by its dotted name."""
    found: Any = config
    for part in name.split("."):
        found = getattr(found, part)
    return found
