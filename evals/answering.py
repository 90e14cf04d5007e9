"""Who answers an evaluation: both models in this process, or another of lm-eval's models (`evals/backends.py`)."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import polars as pl

from curate.configfile import Project
from evals.general_text import Passage, score_general
from evals.packing import Query
from evals.responses import Responses
from schemas.progress import Progress
from schemas.terminal import printable


class Scorer(Protocol):
    """Log-likelihoods of tokens after tokens, by one model."""

    def expect(self, queries: Iterable[Query]) -> None:
        """Say what will be asked later."""

    def score(self, queries: Sequence[Query]) -> list[Any]:
        """A `TokenScore` for each query, in order."""


@dataclass(frozen=True)
class Asked:
    """One model that is ready to answer."""

    lm: Any
    """For `run_task`."""
    scorer: Scorer | None
    """Null where the model gives no log-probabilities of a given text."""
    tokens: Callable[[str], list[int]] | None
    """How the harness makes tokens of a text; null where the model does so out of sight."""


class Answers(Protocol):
    """Both models."""

    engine: dict[str, Any]
    """What computes, as the results state it: `engine`, `versions`, `dtype`, `device`, and what else decides."""
    errors: list[str]
    """What went wrong on items that have no score."""

    def acting_as(self, model: str) -> contextlib.AbstractContextManager[Asked]:
        """The model called `base` or `tuned`, for as long as it is asked."""

    def on_general_text(self, texts: Sequence[Passage]) -> pl.DataFrame:
        """Both models on text that has nothing to do with the task, with the columns of GENERAL_SCHEMA."""


class InProcess:
    """Both models loaded once by transformers, the adapter switched on and off.

    Args:
        project: the config.
        base: folder of the base model.
        trained: stage folder of training.
        weights: of each model, digests of all that decides what it answers.
        progress: told of each batch.
    """

    def __init__(
        self, project: Project, base: Path, trained: Path, weights: Mapping[str, Any], progress: Progress
    ) -> None:
        from evals.harness import shared_lm
        from evals.models import load_models
        from evals.token_scores import TokenScorer

        settings = project.config.evals
        self._runs, self._weights = project.runs, weights
        self._loaded = load_models(base, trained, settings.dtype)
        self._scorer = TokenScorer(self._loaded.model, settings.batch_size, self._loaded.max_length, progress.advance)
        self._lm = shared_lm(self._scorer, self._loaded.tokenizer)
        self.engine = self._loaded.engine
        self.errors = self._scorer.errors

    @contextlib.contextmanager
    def acting_as(self, model: str) -> Iterator[Asked]:
        """The model called `base` or `tuned`."""
        self._scorer.forget()
        with contextlib.closing(self._store(model)) as store, self._loaded.acting_as(model):
            self._scorer.store = store
            yield Asked(self._lm, self._scorer, self._lm.tok_encode)

    def on_general_text(self, texts: Sequence[Passage]) -> pl.DataFrame:
        """Both models on text that has nothing to do with the task; see `score_general`."""
        self._scorer.forget()
        with contextlib.closing(self._store("tuned")) as store:
            return score_general(self._scorer, self._loaded.acting_as, texts, store)

    def _store(self, model: str) -> Responses:
        how = {"engine": self.engine, "batch_size": self._scorer.batch_size}  # rounding differs between batch sizes
        return Responses(self._runs, {**self._weights[model], **how})


def open_answers(
    project: Project, base: Path, trained: Path, weights: Mapping[str, Any], progress: Progress
) -> Answers:
    """Whoever the config lets answer; see `InProcess` for the arguments.

    Raises:
        UserError: the models cannot be loaded.
    """
    if project.config.evals.backend is None:
        return InProcess(project, base, trained, weights, progress)
    from evals.backends import Backend

    return Backend(project, base, trained, weights, progress)


def plain_command(project: Project) -> str:
    """The beginning of the lm-eval command that asks the tuned model, with names in capitals where paths belong."""
    settings = project.config.evals
    if settings.backend is None:
        return f"lm_eval --model hf --model_args pretrained=BASE_MODEL,peft=ADAPTER,dtype={settings.dtype}"
    from evals.backends import model_arguments

    arguments = model_arguments(settings.backend, "tuned", "BASE_MODEL", "ADAPTER", settings.dtype)
    told = ",".join(f"{name}={value}" for name, value in arguments.items())
    return f"lm_eval --model {settings.backend.model} --model_args {printable(told)}"
