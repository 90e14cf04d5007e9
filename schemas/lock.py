"""The baseline lock: a committed file that says what a candidate is compared with, and under which circumstances.

It holds everything that must be equal for two evaluations to be compared item by item, the scores of the blessed model
and those of the original one, and who blessed it, when and why. Its own digest shows a hand-made change.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from schemas.base import PathText, Strict, fingerprint
from schemas.config import ModelGateConfig
from schemas.terminal import printable_json

SCHEMA = "assay/lock/1"
LOCK_NAME = "baseline.lock.json"
"""Name of the file where the config names none, beside the config."""

Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
"""sha256 as 64 hex digits."""

ANSWER_CHARS = 500
"""Of an answer, as a lock keeps it."""


def shortened(answer: str) -> str:
    """As much of an answer as a lock keeps; an ellipsis says that there was more."""
    return answer if len(answer) <= ANSWER_CHARS else f"{answer[:ANSWER_CHARS]}…"


class LockedItem(Strict):
    """One item of a task with what two models scored on it."""

    item_id: str
    item_sha256: Digest
    """Of everything that the task's templates can name."""
    prompt_sha256: Digest
    """Of the prompt that the model saw, chat template included."""
    score: float | None
    """Of the blessed model; null where it failed. Several answers to one item are averaged."""
    original: float | None
    """Of the model that was blessed first with this item."""
    answer: str | None = None
    """What the blessed model said, to be read beside a candidate's answer: its beginning, see `shortened`."""


class LockedNoise(Strict):
    """How much a model's mean score moved when it was evaluated more than once."""

    variance: Annotated[float, Field(ge=0, allow_inf_nan=False)]
    """Between runs, of the mean over them."""
    runs: Annotated[int, Field(ge=2)]


class LockedTask(Strict):
    """One suite as it was asked."""

    metric: str
    higher_is_better: bool
    output_type: str
    split: str | None
    """Split of the curated dataset that the items come from; null for items of its own."""
    decoding: dict[str, Any]
    """Arguments of generation, as lm-eval names them; empty for log-likelihoods and for lm-eval's defaults."""
    template: dict[str, Any]
    """The other fields of the lm-eval task: prompt, choices, system text, few-shot settings, metrics."""
    files: dict[PathText, Digest]
    """Python of the task and few-shot examples."""
    original: Annotated[int, Field(ge=0)]
    """Place in `history` of the blessing whose scores are the original ones."""
    noise: LockedNoise | None = None
    """Of the blessed model; null where it was evaluated once."""
    original_noise: LockedNoise | None = None
    """Of the model that was blessed first."""
    items: Annotated[tuple[LockedItem, ...], Field(min_length=1)]


class LockedEngine(Strict):
    """What computed the scores."""

    name: str
    """`transformers` in process, otherwise one of lm-eval's models."""
    versions: dict[str, str]
    """Package -> version. Another major version does not fit; before 1.0, another minor version."""
    dtype: str
    """`unknown` for an endpoint."""
    device: str
    """Class of the device: cpu or cuda; `endpoint` where another computer answered."""
    arguments: dict[str, Any] = Field(default_factory=dict)
    """Of another of lm-eval's models: what base and tuned had in common, an endpoint's address included."""


class Blessing(Strict):
    """One time that somebody made a model the baseline."""

    date: Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]
    """UTC."""
    by: str | None
    """Name and address of the git user; null without one."""
    reason: Annotated[str, Field(min_length=1, pattern=r"\S")]
    model: Literal["base", "tuned"]
    weights: dict[PathText, Digest]
    """Files of the adapter or of the fully tuned model -> digest; empty for the base model."""
    results: Digest
    """Digest of the evaluation whose scores were taken, without its times."""
    verdict: Digest | None
    """Digest of the passing verdict on it; null for a base model and where it was overridden."""
    override: str | None = None
    """What stood against it, where it was blessed all the same."""


class Lock(Strict):
    """`baseline.lock.json`."""

    schema_: Literal["assay/lock/1"] = Field(default="assay/lock/1", alias="schema")
    name: str
    """Of the config."""
    base: Digest
    """Digest of the base model: weights, tokenizer, chat template."""
    engine: LockedEngine
    conditions: ModelGateConfig
    """Family of tests, margins and alpha, declared before a candidate exists."""
    seed: int
    looks: tuple[str, ...]
    """Evaluations known to have been made on these items, each by the beginning of its digest."""
    history: Annotated[tuple[Blessing, ...], Field(min_length=1)]
    """Oldest first; the last one is in force."""
    tasks: Annotated[dict[str, LockedTask], Field(min_length=1)]
    digest: str = ""
    """sha256 of everything else."""

    model_config = Strict.model_config | {"populate_by_name": True, "serialize_by_alias": True}

    @model_validator(mode="after")
    def _is_whole(self) -> Self:
        for name, task in self.tasks.items():
            ids = [item.item_id for item in task.items]
            if len(set(ids)) < len(ids):
                raise ValueError(f"task {name!r} names an item twice")
            if task.original >= len(self.history):
                raise ValueError(f"task {name!r} names blessing {task.original}, there are {len(self.history)}")
        return self

    @property
    def blessing(self) -> Blessing:
        """The one in force."""
        return self.history[-1]

    def to_bytes(self) -> bytes:
        """The file's bytes, the same for the same lock: an item, and whatever else holds only plain values, a line."""
        body = self.model_dump(mode="json", exclude={"digest"})
        return f"{printable_json(_text(body | {'digest': body_digest(body)}))}\n".encode()


def body_digest(body: Mapping[str, Any]) -> str:
    """Digest of a lock as plain data, its own digest left out."""
    return fingerprint({name: value for name, value in body.items() if name != "digest"})


def _text(value: Any, indent: str = "") -> str:
    children = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    if not any(isinstance(child, dict | list) for child in children) and indent:
        return json.dumps(value, ensure_ascii=False)
    deeper = indent + " "
    if isinstance(value, dict):
        lines = [f"{deeper}{json.dumps(name, ensure_ascii=False)}: {_text(v, deeper)}" for name, v in value.items()]
        return "{\n" + ",\n".join(lines) + f"\n{indent}}}"
    return "[\n" + ",\n".join(f"{deeper}{_text(child, deeper)}" for child in value) + f"\n{indent}]"
