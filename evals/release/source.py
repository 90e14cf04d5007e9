"""The model that was judged, as every export begins from it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from train.run import ADAPTER, MODEL


@dataclass(frozen=True)
class Source:
    """The model that was judged."""

    name: str
    """Of the project; file names and served names begin with it."""
    base: Path
    """Folder of the base model."""
    trained: Path
    """Stage folder of training: an adapter, or of full fine-tuning a model."""
    dtype: str
    """In which it was evaluated (`evals.dtype`)."""

    @property
    def adapter(self) -> Path | None:
        """Folder of the adapter; null after full fine-tuning."""
        return None if self.full else self.trained / ADAPTER

    @property
    def full(self) -> Path | None:
        """Folder of the fully fine-tuned model; null where an adapter was trained."""
        folder = self.trained / MODEL
        return folder if folder.is_dir() else None


class Loaded(NamedTuple):
    """A model that is ready to answer, in evaluation mode."""

    model: Any
    tokenizer: Any


def load_judged(source: Source) -> Loaded:
    """The adapter on its base exactly as it was evaluated, or the fully fine-tuned model, on the GPU if there is one.

    Raises:
        UserError: the adapter or the model does not fit the base model, or cannot be read.
    """
    from evals.models import load_models

    loaded = load_models(source.base, source.trained, source.dtype)
    return Loaded(loaded.model if loaded.full is None else loaded.full, loaded.tokenizer)
