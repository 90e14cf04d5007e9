"""One row of training data in each shape that assay reads and writes.

Readers accept the wire shapes of OpenAI, TRL, ShareGPT and Alpaca and map them to these; `kind` names the shape.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from schemas.base import Strict

ROLES = ("system", "developer", "user", "assistant", "tool", "function")
"""Roles that a message may have."""

Kind = Literal["chat", "prompt-completion", "preference", "feedback", "reward", "text"]
KINDS: tuple[Kind, ...] = ("chat", "prompt-completion", "preference", "feedback", "reward", "text")


class Message(Strict):
    """One turn of a conversation."""

    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None
    """Text, content parts, or null beside tool calls."""
    name: str | None = None
    tool_calls: list[dict[str, Any]] | None = None
    tool_call_id: str | None = None
    function_call: dict[str, Any] | None = None
    weight: Literal[0, 1] | None = None
    """1 trains on this assistant turn, 0 does not; null leaves it to the method."""


class ChatRow(Strict):
    """A conversation; the assistant's turns are trained."""

    messages: list[Message] = Field(min_length=1)
    tools: list[dict[str, Any]] | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)


class PromptCompletionRow(Strict):
    """A prompt and the completion to be trained."""

    prompt: str | list[Message]
    completion: str | list[Message]
    metadata: dict[str, Any] = Field(default_factory=dict)


class PreferenceRow(Strict):
    """A prompt with a better and a worse answer (DPO)."""

    prompt: str | list[Message]
    chosen: str | list[Message]
    rejected: str | list[Message]
    metadata: dict[str, Any] = Field(default_factory=dict)


class FeedbackRow(Strict):
    """A prompt with one answer marked good or bad (KTO)."""

    prompt: str | list[Message]
    completion: str | list[Message]
    label: bool
    metadata: dict[str, Any] = Field(default_factory=dict)


class RewardRow(Strict):
    """A prompt with a reference answer that reward functions compare with (GRPO)."""

    prompt: str | list[Message]
    reference: str
    metadata: dict[str, Any] = Field(default_factory=dict)


class TextRow(Strict):
    """Plain text for continued training."""

    text: str
    metadata: dict[str, Any] = Field(default_factory=dict)


ROW_MODELS: dict[Kind, type[Strict]] = {
    "chat": ChatRow,
    "prompt-completion": PromptCompletionRow,
    "preference": PreferenceRow,
    "feedback": FeedbackRow,
    "reward": RewardRow,
    "text": TextRow,
}
