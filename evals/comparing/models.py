"""Who answers a comparison: the models of this process, and an endpoint, each made when it is first asked."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from curate.configfile import Project
from evals.comparing.prompting import Conversation, Speaker
from evals.comparing.setting import Answer, Model
from schemas.manifest import read_manifest
from schemas.progress import Progress
from train.run import trained_files

if TYPE_CHECKING:
    from evals.comparing.asking import LocalModels
    from evals.comparing.endpoint import ChatEndpoint


@dataclass(frozen=True)
class Models:
    """All of them."""

    project: Project
    base: Path
    """Folder of the base model."""
    weights: Sequence[str]
    """Digests of its files."""
    adapter: Path
    """Stage folder of training."""
    full: Path | None
    """Stage folder of a fully fine-tuned run, where one is named."""
    speaker: Speaker
    progress: Progress

    @cached_property
    def local(self) -> LocalModels:
        """Base, tuned and fully fine-tuned model."""
        from evals.comparing.asking import LocalModels, Weights

        evals = self.project.config.evals
        made = {"base": None, "tuned": self.adapter, "full": self.full}
        identity = {
            name: {"base": list(self.weights), "tuned": {} if folder is None else trained_files(read_manifest(folder))}
            for name, folder in made.items()
        }
        held = Weights(self.base, self.adapter, self.full, identity, evals.dtype, evals.batch_size)
        return LocalModels(held, self.speaker, self.project.runs, self.progress)

    @cached_property
    def endpoint(self) -> ChatEndpoint:
        """The model at the endpoint that the config names."""
        from evals.comparing.endpoint import ChatEndpoint

        config = self.project.config.compare.endpoint
        assert config is not None
        return ChatEndpoint(config, self.speaker, self.project.runs, self.progress)

    def ask(self, model: Model, asked: Sequence[Conversation]) -> list[Answer]:
        """Answers in the order of the conversations."""
        return self.endpoint.ask(asked) if model == "endpoint" else self.local.ask(model, asked)

    def timed(self, model: Model, asked: Conversation) -> tuple[Answer, float]:
        """One answer, read anew, and its seconds."""
        return self.endpoint.timed(asked) if model == "endpoint" else self.local.timed(model, asked)
