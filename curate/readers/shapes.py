"""A record as it is read: its turns, what of it is content, and what is wrong with its types."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import orjson

from schemas.records import Kind

MESSAGE_KEYS = frozenset(
    ("role", "content", "name", "tool_calls", "tool_call_id", "function_call", "weight", "refusal")
)
SHAREGPT_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "ai": "assistant",
    "bot": "assistant",
    "prompter": "user",
    "developer": "developer",
    "system": "system",
    "function_call": "assistant",
    "observation": "tool",
    "tool": "tool",
    "function": "function",
}
PROMPTS = ("prompt", "question", "query", "problem", "input")
COMPLETIONS = ("completion", "response", "answer", "output", "target")
REFERENCES = ("reference", "ground_truth", "solution", "reference_answer", "reward_model")

Turn = tuple[str, str | None, str | None, str | None]
"""part, role, content, tool calls as JSON"""
Fault = tuple[str, int | None, str, str]
"""rule name, turn, found, expected"""


@dataclass(slots=True)
class Shaped:
    """One record, read: its turns, and what of it is content."""

    kind: Kind
    shape: str
    content_keys: tuple[str, ...]
    messages: list[Any] = field(default_factory=list)
    """Conversation up to and including the (chosen) answer, in OpenAI's shape."""
    rejected: list[Any] | None = None
    prompt_messages: int = 0
    """Preference: how many of the messages come before the two answers."""
    extra: dict[str, Any] = field(default_factory=dict)
    """Other content: tools, label, reference, text."""
    weights: list[tuple[str, int, Any]] = field(default_factory=list)
    """part, position, `weight` of the messages that have one."""
    turns: list[Turn] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)

    @property
    def canonical(self) -> list[Any]:
        """What the row's identity is made of: content, without the metadata and without the wire shape."""
        return [self.messages, self.rejected, self.extra]

    @property
    def beside(self) -> list[Any] | None:
        """Content that is no turn: tools, a label, weights; null where there is none."""
        if not (self.extra or self.weights):
            return None
        extra = {key: value for key, value in self.extra.items() if key not in ("text", "reference")}
        return [extra, self.weights] if extra or self.weights else None

    def add(self, messages: Any, part: str, where: str) -> list[Any]:
        """Append turns from a list of messages; a bare string is not accepted here."""
        if not isinstance(messages, list):
            self.faults.append(("wrong-type", None, f"`{where}` is {type_name(messages)}", "a list of messages"))
            return []
        first = sum(turn[0] == part for turn in self.turns) if part == "messages" else len(self.messages)
        for position, message in enumerate(messages, start=first):
            self.turns.append(self._turn(message, part, position))
        return messages

    def _turn(self, message: Any, part: str, position: int) -> Turn:
        if message.__class__ is not dict:
            self.faults.append(("wrong-type", position, f"the message is {type_name(message)}", "an object"))
            return part, None, None, None
        role = message.get("role")
        content = message.get("content")
        if len(message) == 2 and role.__class__ is str and content.__class__ is str:
            return part, role, content, None  # as most are
        calls = None
        if not message.keys() <= MESSAGE_KEYS:
            strange = ", ".join(f"`{key}`" for key in sorted(message.keys() - MESSAGE_KEYS))
            self.faults.append(("unknown-key", position, strange, "one of " + ", ".join(sorted(MESSAGE_KEYS))))
        if message.get("tool_calls") or message.get("function_call"):
            called = {key: message[key] for key in ("tool_calls", "function_call") if message.get(key)}
            calls = orjson.dumps(called, option=orjson.OPT_SORT_KEYS).decode()
        if message.get("weight") is not None:
            self.weights.append((part, position, message["weight"]))
        if message.get("name") is not None and (wrong := wrong_name(message["name"])):
            self.faults.append(("invalid-name", position, wrong, NAME_EXPECTED))
        if role.__class__ is not str:
            found = "no `role`" if "role" not in message else f"`role` is {type_name(role)}"
            self.faults.append(("wrong-type", position, found, "a role as text"))
            role = None
        if content.__class__ is not str:
            content = self._content(message, content, calls, position)
        return part, role, content, calls

    def _content(self, message: dict[str, Any], content: Any, calls: str | None, position: int) -> str | None:
        if content is None:
            if isinstance(message.get("refusal"), str):
                return str(message["refusal"])
            if calls is None:
                found = "no `content`" if "content" not in message else "`content` is null"
                self.faults.append(("missing-content", position, found, "text, or tool calls beside it"))
            return None
        if isinstance(content, list):
            texts = [part.get("text") for part in content if isinstance(part, dict)]
            if len(texts) == len(content):
                if strange := strange_parts(content):
                    self.faults.append(("unreadable-part", position, strange, "parts of the type text, with a text"))
                said = [text for text in texts if isinstance(text, str)]
                return "\n".join(said) if said or not texts else None  # an image alone is no empty turn
        found = f"`content` is {type_name(content)}"
        self.faults.append(("wrong-type", position, found, "text, or a list of content parts"))
        return None

    def say(self, prompt: Any, where: str, role: str = "user", part: str = "messages") -> list[Any]:
        """Turns from a field that is either one text or a list of messages."""
        if isinstance(prompt, dict) and ("role" in prompt or "from" in prompt):
            prompt = [prompt]  # one message without the list around it
        if isinstance(prompt, list) and prompt and isinstance(prompt[0], dict) and "from" in prompt[0]:
            prompt = [from_sharegpt(turn) for turn in prompt]
        if isinstance(prompt, str):
            messages = [{"role": role, "content": prompt}]
            return self.add(messages, part, where)
        if prompt is None:
            self.faults.append(("missing-content", None, f"`{where}` is null", "text or a list of messages"))
            return []
        return self.add(prompt, part, where)


NAME_EXPECTED = "1 to 64 characters without white space and without < | \\ / >"


def wrong_name(name: Any) -> str:
    """What is wrong with the `name` of a message; empty where it is a name that OpenAI takes."""
    if not isinstance(name, str):
        return f"`name` is {type_name(name)}"
    if 1 <= len(name) <= 64 and not any(char.isspace() or char in "<|\\/>" for char in name):
        return ""
    return f"`name` is {name[:60]!r}" if len(name) <= 64 else f"`name` has {len(name)} characters"


def strange_parts(parts: list[dict[str, Any]]) -> str:
    """Content parts of which nothing can be read, by type; empty where each is text."""
    strange: dict[str, None] = {}
    for part in parts:
        kind = part.get("type", "text")
        if not isinstance(kind, str):
            strange[f"a part whose `type` is {type_name(kind)}"] = None
        elif kind != "text":
            strange[f"a part of the type {kind[:40]!r}"] = None
        elif not isinstance(part.get("text"), str):
            strange["a part without a text"] = None
    return ", ".join(list(strange)[:4])


def type_name(value: Any) -> str:
    """A JSON value's type in JSON's own words."""
    names = {bool: "a boolean", int: "a number", float: "a number", str: "text", list: "a list", dict: "an object"}
    return names.get(type(value), "null" if value is None else type(value).__name__)


def from_sharegpt(turn: Any) -> Any:
    """A turn with `from` and `value` as a message with `role` and `content`; anything else as it is."""
    if not isinstance(turn, dict) or "from" not in turn:
        return turn
    said = turn["from"]
    role = SHAREGPT_ROLES.get(said, said) if isinstance(said, str) else said
    message = {"role": role}
    text = next((key for key in ("value", "content", "text") if key in turn), None)
    if text is not None:
        message["content"] = turn[text]
    return message | {key: turn[key] for key in ("weight", "name") if key in turn}
