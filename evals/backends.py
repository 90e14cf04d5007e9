"""Another of lm-eval's models as the engine: its arguments, what it cannot do, and both models one after the other."""

from __future__ import annotations

import contextlib
import difflib
import gc
import importlib.metadata
import ipaddress
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import polars as pl

from curate.configfile import Project
from evals.answering import Asked
from evals.endpoint_faults import without_keys
from evals.general_text import GENERAL_SCHEMA, Passage
from evals.responses import Responses
from evals.tasks import Task
from schemas.backend import PATHS, WEIGHTS, BackendConfig
from schemas.errors import UserError
from schemas.progress import Progress
from train.machine import device_class
from train.run import ADAPTER, MODEL

PACKAGES = {"hf": ("lm_eval", "peft", "torch", "transformers"), "vllm": ("lm_eval", "torch", "transformers", "vllm")}
"""Packages whose version can change an answer; for all others lm-eval alone is known."""
HOSTED = ("anthropic", "azure", "litellm", "openai", "textsynth", "watsonx")
"""How the names of lm-eval's models begin that ask a service of which it knows the address."""
LORA_RANKS = (16, 32, 64, 128, 256, 320, 512)
"""Largest ranks that vLLM can be told to keep room for; lm-eval tells it the first."""


def check_model(backend: BackendConfig) -> None:
    """Refuse a model that lm-eval does not know.

    Raises:
        UserError: with the name that was probably meant.
    """
    from evals.harness import model_names

    names = model_names()
    if backend.model not in names:
        near = difflib.get_close_matches(backend.model, names, n=1)
        raise UserError(
            f"lm-eval has no model called {backend.model!r}",
            where="evals.backend.model",
            expected=f"one of {', '.join(names)}",
            help=f"did you mean {near[0]}?" if near else "",
        )


def check_tasks(backend: BackendConfig, tasks: Sequence[Task], rendered: Sequence[str]) -> None:
    """Refuse tasks that the backend cannot answer, before anything is asked.

    Args:
        backend: who answers.
        tasks: what is asked.
        rendered: names of the tasks whose texts the model's chat template is not put around.

    Raises:
        UserError: a chat endpoint is asked for log-probabilities, or with a prompt that is no conversation.
    """
    for task in tasks if backend.chat else ():
        kind = task.config.get("output_type", "generate_until")
        if kind != "generate_until":
            raise UserError(
                f"{backend.model} gives no log-probabilities, which this task needs",
                where=str(task.path),
                found=f"output_type: {kind}",
                expected="output_type: generate_until",
                help="use local-completions, vllm or no backend, or let the model write its answer",
            )
        if task.name in rendered:
            raise UserError(
                f"{backend.model} takes conversations, and this task asks with a text of its own making",
                where=str(task.path),
                found="metadata.chat_template rendered or none",
                expected="the messages as they are, for example `doc_to_text: user`, without metadata.chat_template",
            )


def model_arguments(backend: BackendConfig, model: str, base: str, adapter: str, dtype: str) -> dict[str, Any]:
    """What one of lm-eval's models is made with, beside what depends on the weights.

    Args:
        backend: as the config has it.
        model: `base` or `tuned`.
        base: folder of the base model.
        adapter: folder of the adapter.
        dtype: of the computation.
    """
    if backend.model not in WEIGHTS:
        ours = {"tokenizer": base, "tokenizer_backend": "huggingface"} if _has_our_tokenizer(backend) else {}
        return ours | backend.arguments(model)
    weights, lora = WEIGHTS[backend.model]
    given = {weights: base, "dtype": dtype, **backend.args}
    return given | ({lora: adapter} if model == "tuned" else {})


def all_arguments(project: Project, model: str, base: Path, trained: Path) -> dict[str, Any]:
    """What one of lm-eval's models is made with, all of it.

    Args:
        project: the config.
        model: `base` or `tuned`.
        base: folder of the base model.
        trained: stage folder of training.
    """
    settings = project.config.evals
    backend, full = settings.backend, trained / MODEL
    assert backend is not None
    found = model_arguments(backend, model, str(base), str(trained / ADAPTER), settings.dtype)
    if backend.model in WEIGHTS:
        weights, lora = WEIGHTS[backend.model]
        ours = {"batch_size": "auto"} if backend.model == "vllm" else {"batch_size": settings.batch_size}
        found = ours | ({"device": device_class()} if backend.model == "hf" else {}) | found
        if full.is_dir() and model == "tuned":
            found = {name: value for name, value in found.items() if name != lora}
            found |= {weights: str(full), "tokenizer": str(base)}
        elif backend.model == "vllm" and model == "tuned":
            rank = json.loads((trained / ADAPTER / "adapter_config.json").read_text("utf-8")).get("r", LORA_RANKS[0])
            room = next((one for one in LORA_RANKS if rank <= one), rank)
            found = {"max_lora_rank": room, **found}
    elif _has_our_tokenizer(backend):
        config = json.loads((base / "config.json").read_text("utf-8"))
        longest = config.get("max_position_embeddings")
        found = ({"max_length": longest} if longest else {}) | found
    return found


def is_remote(backend: BackendConfig) -> bool:
    """Whether an endpoint answers."""
    return backend.model.startswith(HOSTED) or backend.model in PATHS or "base_url" in backend.arguments("base")


def described(backend: BackendConfig, dtype: str) -> dict[str, Any]:
    """What computes, in the form of `Answers.engine`; nobody can ask an endpoint for its dtype or device."""
    loads = backend.model in WEIGHTS
    device = str(backend.args.get("device") or device_class()).partition(":")[0]
    return {
        "engine": backend.model,
        "versions": {name: _version(name) for name in PACKAGES.get(backend.model, ("lm_eval",))},
        "dtype": dtype if loads else "unknown",
        "device": device if loads else "endpoint" if is_remote(backend) else "unknown",
        "arguments": backend.shared,
    }


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError as error:
        raise UserError(
            "the backend needs a package that is not installed",
            where="evals.backend.model",
            found=f"no {name}",
            help=f"pip install {name}",
        ) from error


def _has_our_tokenizer(backend: BackendConfig) -> bool:
    """Whether texts become tokens here, by the tokenizer of training."""
    others = {"tokenizer", "tokenizer_backend"} & {*backend.args, *backend.base, *backend.tuned}
    return backend.model in WEIGHTS or (backend.model == "local-completions" and not others)


def _has_our_tokens(backend: BackendConfig) -> bool:
    """Whether the model is asked in tokens, and in those of training."""
    in_tokens = all(backend.arguments(model).get("tokenized_requests", True) for model in ("base", "tuned"))
    return _has_our_tokenizer(backend) and in_tokens


class Backend:
    """Base and tuned model at another engine, made one after the other.

    Args:
        project: the config.
        base: folder of the base model.
        trained: stage folder of training.
        weights: of each model, digests of all that decides what it answers.
        progress: told of each answer.
    """

    def __init__(
        self, project: Project, base: Path, trained: Path, weights: Mapping[str, Any], progress: Progress
    ) -> None:
        settings = project.config.evals
        assert settings.backend is not None
        self._project, self._base, self._trained = project, base, trained
        self._weights, self._progress, self._backend = weights, progress, settings.backend
        self.engine = described(settings.backend, settings.dtype)
        self.errors: list[str] = []
        self._no_losses = why_no_losses(settings.backend)
        if settings.backend.model.startswith("openai") and not os.environ.get("OPENAI_API_KEY"):
            raise UserError(
                "the endpoint needs a key", where="evals.backend", help="set OPENAI_API_KEY in the environment"
            )
        for model in ("base", "tuned"):
            url = settings.backend.arguments(model).get("base_url")
            if (url or is_remote(settings.backend)) and not is_loopback(str(url or "")):
                progress.say(
                    f"the items of {model} are sent to {urlsplit(url).netloc if url else settings.backend.model}"
                )

    @contextlib.contextmanager
    def acting_as(self, model: str) -> Iterator[Asked]:
        """The model called `base` or `tuned`; it is let go of afterwards, so that the next one has room."""
        from evals.asked_lm import AskedLM

        told = {"engine": self.engine, "arguments": self._backend.arguments(model)}
        with contextlib.closing(Responses(self._project.runs, {**self._weights[model], **told})) as store:
            inner = self._made(model)
            lm = AskedLM(inner, self._backend.model, store, self.errors, self._progress.advance)
            ours = _has_our_tokens(self._backend)
            try:
                yield Asked(lm, None if self._no_losses else lm, inner.tok_encode if ours else None)
            finally:
                del inner, lm
                gc.collect()

    def on_general_text(self, texts: Sequence[Passage]) -> pl.DataFrame:
        """Nothing, since whole distributions are out of sight; drift cannot be judged then."""
        return pl.DataFrame(schema=GENERAL_SCHEMA)

    def _made(self, model: str) -> Any:
        from evals.harness import make_model

        arguments = all_arguments(self._project, model, self._base, self._trained)
        try:
            return make_model(self._backend.model, arguments, network=self._project.config.evals.network)
        except ModuleNotFoundError as error:
            raise UserError(
                "the backend needs a package that is not installed",
                where="evals.backend.model",
                found=str(error)[:300],
                help="lm-eval's documentation of the model says which",
            ) from error
        except Exception as error:  # whatever an engine may raise while it loads
            raise UserError(
                f"the backend {self._backend.model} cannot be started",
                where=f"evals.backend, the {model} model",
                found=without_keys(f"{type(error).__name__}: {error}")[:300],
                help="compare the arguments with lm-eval's documentation of the model",
            ) from error


def why_no_losses(backend: BackendConfig) -> str:
    """Why supervised losses cannot be measured with a backend; empty where they can."""
    if _has_our_tokens(backend):
        return ""
    if backend.model == "local-completions":
        return "local-completions was given another tokenizer, or texts instead of tokens"
    return f"{backend.model} gives no log-probabilities of the tokens of training"


def is_loopback(url: str) -> bool:
    """Whether an address is of this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
