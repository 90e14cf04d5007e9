"""`evals.backend`: another of lm-eval's models answers instead of transformers in this process."""

from __future__ import annotations

import re
from typing import Annotated, Any, Self
from urllib.parse import parse_qsl, urlsplit

from pydantic import Field, JsonValue, field_validator, model_validator

from schemas.base import Strict

WEIGHTS = {"hf": ("pretrained", "peft"), "vllm": ("pretrained", "lora_local_path")}
"""lm-eval's models that load weights: their arguments for a model folder and for an adapter folder."""
PATHS = {"local-completions": "/completions", "local-chat-completions": "/chat/completions"}
"""lm-eval's models for an endpoint of the user's: how its address ends."""
SECRET_WORDS = frozenset(
    "apikey auth authorization bearer credential credentials header headers key password secret sig signature".split()
)
SECRET_NAMES = frozenset(("access_token", "hf_token", "token"))
Arguments = dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")], JsonValue]


def is_secret(name: str) -> bool:
    """Whether an argument of this name holds what must not be written down."""
    name = name.lower().replace("-", "_")
    return name in SECRET_NAMES or not SECRET_WORDS.isdisjoint(re.split(r"_+", name))


class BackendConfig(Strict):
    """Who answers the suites, as lm-eval names it."""

    model: Annotated[str, Field(min_length=1, pattern=r"^[A-Za-z0-9_.-]+$")]
    """One of lm-eval's models: `vllm`, `hf`, `local-completions`, `local-chat-completions` and more"""
    args: Arguments = Field(default_factory=dict)
    """Its arguments for both models. `vllm` and `hf` get the base model and the adapter from assay."""
    base: Arguments = Field(default_factory=dict)
    """Further arguments that name the base model, such as `model` at an endpoint."""
    tuned: Arguments = Field(default_factory=dict)
    """Further arguments that name the tuned model."""

    def arguments(self, model: str) -> dict[str, Any]:
        """The arguments given for `base` or `tuned`."""
        return {**self.args, **(self.tuned if model == "tuned" else self.base)}

    @property
    def shared(self) -> dict[str, Any]:
        """The arguments that are equal for both models."""
        tuned = self.arguments("tuned")
        return {name: value for name, value in self.arguments("base").items() if name in tuned and tuned[name] == value}

    def own_arguments(self, model: str) -> dict[str, Any]:
        """The arguments by which `base` or `tuned` differs from the other."""
        return {name: value for name, value in self.arguments(model).items() if name not in self.shared}

    @property
    def chat(self) -> bool:
        """Whether it takes conversations and gives text: no log-probabilities, and its own chat template."""
        return self.model.endswith(("-chat", "chat-completions")) or self.model == "litellm"

    @field_validator("args", "base", "tuned")
    @classmethod
    def _says_no_secret(cls, given: dict[str, Any]) -> dict[str, Any]:
        names = list(given)
        for value in given.values():
            names += value if isinstance(value, dict) else ()
        secret = next(filter(is_secret, names), None)
        if secret is not None:
            raise ValueError(
                f"`{secret}` would be written into results: give keys in the environment (OPENAI_API_KEY), where "
                "lm-eval reads them"
            )
        return given

    @model_validator(mode="after")
    def _names_two_models(self) -> Self:
        if self.model in WEIGHTS:
            ours = sorted({*WEIGHTS[self.model], "dtype"} & {*self.args, *self.base, *self.tuned})
            if ours or self.base or self.tuned:
                found = ours[0] if ours else "base` or `tuned"
                raise ValueError(
                    f"`{found}` cannot be given for {self.model}: assay names base model and adapter itself, and "
                    "`evals.dtype` the dtype"
                )
        elif not self.base or not self.tuned or self.arguments("base") == self.arguments("tuned"):
            raise ValueError(
                f"{self.model} needs `base` and `tuned`, arguments by which it tells the two models apart, for example "
                "base: {model: my-base} and tuned: {model: my-tuned}"
            )
        return self

    @model_validator(mode="after")
    def _has_an_address(self) -> Self:
        for name in ("base", "tuned"):
            url = self.arguments(name).get("base_url")
            if url is None and self.model not in PATHS:
                continue
            if not isinstance(url, str) or not is_address(url):
                raise ValueError("`base_url` must be an address such as http://127.0.0.1:8000/v1/completions")
            if names_a_secret(url):
                raise ValueError("`base_url` holds a password or key, which would be written into results")
            parts = urlsplit(url)
            if not parts.path.endswith(PATHS.get(self.model, "")) or (
                self.model == "local-completions" and parts.path.endswith("/chat/completions")
            ):
                raise ValueError(f"`base_url` of {self.model} ends in {PATHS[self.model]}, found {url!r}")
            if self.model in PATHS and not isinstance(self.arguments(name).get("model"), str):
                raise ValueError(f"`{name}` needs `model`, its name at the endpoint")
        return self


def is_address(url: str) -> bool:
    """Whether a text is the address of a web server."""
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def names_a_secret(url: str) -> bool:
    """Whether an address holds a password or a key."""
    parts = urlsplit(url)
    return bool(parts.username or parts.password or any(is_secret(key) for key, _ in parse_qsl(parts.query)))
