"""From a record as it stands in a file to turns: the shapes of OpenAI, TRL, ShareGPT and Alpaca.

A shape is recognised by the record's keys alone, so that one look serves every record with the same keys.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from schemas.records import Kind

MESSAGE_KEYS = frozenset(("role", "content", "name", "tool_calls", "tool_call_id", "function_call", "weight"))
SHAREGPT_ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "bing": "assistant",
    "bard": "assistant",
    "model": "assistant",
    "system": "system",
    "function_call": "assistant",
    "observation": "tool",
    "tool": "tool",
    "function": "function",
}
PROMPTS = ("prompt", "question", "query", "input")
COMPLETIONS = ("completion", "response", "answer", "output", "target")
REFERENCES = ("reference", "ground_truth", "solution", "reference_answer")

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
        calls = None
        if not message.keys() <= MESSAGE_KEYS:
            strange = ", ".join(f"`{key}`" for key in sorted(message.keys() - MESSAGE_KEYS))
            self.faults.append(("unknown-key", position, strange, "one of " + ", ".join(sorted(MESSAGE_KEYS))))
        if len(message) > 2 and (message.get("tool_calls") or message.get("function_call")):
            called = {key: message[key] for key in ("tool_calls", "function_call") if message.get(key)}
            calls = orjson.dumps(called, option=orjson.OPT_SORT_KEYS).decode()
        if len(message) > 2 and message.get("weight") is not None:
            self.weights.append((part, position, message["weight"]))
        if len(message) > 2 and message.get("name") is not None and (wrong := wrong_name(message["name"])):
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
            if calls is None:
                found = "no `content`" if "content" not in message else "`content` is null"
                self.faults.append(("missing-content", position, found, "text, or tool calls beside it"))
            return None
        if isinstance(content, list):
            texts = [part.get("text") for part in content if isinstance(part, dict)]
            if len(texts) == len(content):
                if strange := strange_parts(content):
                    self.faults.append(("unreadable-part", position, strange, "parts of the type text, with a text"))
                return "\n".join(text for text in texts if isinstance(text, str))
        found = f"`content` is {type_name(content)}"
        self.faults.append(("wrong-type", position, found, "text, or a list of content parts"))
        return None

    def say(self, prompt: Any, where: str, role: str = "user", part: str = "messages") -> list[Any]:
        """Turns from a field that is either one text or a list of messages."""
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


Mapper = Callable[[dict[str, Any]], Shaped]


def shape_records(columns: Mapping[str, str] | None = None, kind: str | None = None) -> Callable[[Any], Shaped | None]:
    """A function from records to shaped rows; null for a record of no known shape.

    Args:
        columns: our field name -> the file's column.
        kind: the record kind that the user demands; other shapes are then unknown.
    """
    known: dict[tuple[str, ...], Mapper | None] = {}
    renames = {theirs: ours for ours, theirs in (columns or {}).items()}

    def shape(record: dict[str, Any]) -> Shaped | None:
        if renames:
            record = {renames.get(key, key): value for key, value in record.items()}
        keys = tuple(record)
        if keys not in known:
            known[keys] = find_mapper(frozenset(keys), kind)
        mapper = known[keys]
        return mapper(record) if mapper else None

    return shape


def find_mapper(keys: frozenset[str], kind: str | None = None) -> Mapper | None:
    """The first shape, most specific first, whose keys are all there."""
    for needs, found_kind, mapper in SHAPES:
        if kind in (None, found_kind) and all(any(option in keys for option in options) for options in needs):
            return mapper
    return None


def _first(record: dict[str, Any], names: tuple[str, ...], *, but: str = "") -> str:
    return next(name for name in names if name in record and name != but)


def _chat(record: dict[str, Any]) -> Shaped:
    row = Shaped("chat", "chat", ("messages", "tools", "functions", "parallel_tool_calls"))
    row.messages = row.add(record["messages"], "messages", "messages")
    if len(record) > 1:
        row.extra = {key: record[key] for key in row.content_keys[1:] if record.get(key) is not None}
    return row


def _sharegpt(record: dict[str, Any]) -> Shaped:
    name = _first(record, ("conversations", "conversation"))
    row = Shaped("chat", "sharegpt", (name, "system", "tools"))
    turns = record[name]
    if isinstance(turns, list):
        turns = [_from_sharegpt(turn) for turn in turns]
        if isinstance(record.get("system"), str) and record["system"]:
            turns.insert(0, {"role": "system", "content": record["system"]})
    row.messages = row.add(turns, "messages", name)
    if record.get("tools"):
        row.extra = {"tools": record["tools"]}
    return row


def _from_sharegpt(turn: Any) -> Any:
    if not isinstance(turn, dict) or "from" not in turn:
        return turn
    said = turn["from"]
    role = SHAREGPT_ROLES.get(said, said) if isinstance(said, str) else said
    message = {"role": role}
    if "value" in turn:
        message["content"] = turn["value"]
    return message | {key: turn[key] for key in ("weight", "name") if key in turn}


def _alpaca(record: dict[str, Any]) -> Shaped:
    answer = _first(record, ("output", "response", "completion"))
    row = Shaped("prompt-completion", "alpaca", ("instruction", "input", "system", answer))
    if isinstance(record.get("system"), str) and record["system"]:
        row.messages += row.say(record["system"], "system", "system")
    instruction, context = record["instruction"], record.get("input")
    if isinstance(instruction, str) and isinstance(context, str) and context:
        instruction = f"{instruction}\n\n{context}" if instruction else context
    row.messages += row.say(instruction, "instruction")
    row.messages += row.say(record[answer], answer, "assistant")
    return row


def _prompt_completion(record: dict[str, Any]) -> Shaped:
    prompt = _first(record, PROMPTS)
    answer = _first(record, COMPLETIONS, but=prompt)
    row = Shaped("prompt-completion", "prompt-completion", (prompt, answer, "system", "tools"))
    if isinstance(record.get("system"), str) and record["system"]:
        row.messages += row.say(record["system"], "system", "system")
    row.messages += row.say(record[prompt], prompt)
    row.messages += row.say(record[answer], answer, "assistant")
    if record.get("tools"):
        row.extra = {"tools": record["tools"]}
    return row


def _feedback(record: dict[str, Any]) -> Shaped:
    row = _prompt_completion(record)
    if isinstance(record["label"], bool):  # any other label is metadata of a prompt with its completion
        row.kind, row.shape, row.content_keys = "feedback", "kto", (*row.content_keys, "label")
        row.extra["label"] = record["label"]
    return row


def _preference(record: dict[str, Any]) -> Shaped:
    row = Shaped("preference", "preference", ("prompt", "question", "instruction", "chosen", "rejected", "tools"))
    prompt = next((name for name in ("prompt", "question", "instruction") if name in record), None)
    if prompt:
        row.messages += row.say(record[prompt], prompt)
    chosen, rejected = record["chosen"], record["rejected"]
    if isinstance(chosen, list) and isinstance(rejected, list):
        # Both may repeat the conversation before the answer: what they share is the prompt.
        shared = 0 if prompt else _shared_prefix(chosen, rejected)
        row.messages += row.add(chosen[:shared], "messages", "chosen")
        chosen, rejected = chosen[shared:], rejected[shared:]
        if prompt and row.messages and chosen[: len(row.messages)] == row.messages == rejected[: len(row.messages)]:
            chosen, rejected = chosen[len(row.messages) :], rejected[len(row.messages) :]
    row.prompt_messages = len(row.messages)
    row.rejected = row.say(rejected, "rejected", "assistant", "rejected")
    row.messages = row.messages + row.say(chosen, "chosen", "assistant")
    if record.get("tools"):
        row.extra = {"tools": record["tools"]}
    return row


def _shared_prefix(left: list[Any], right: list[Any]) -> int:
    size = min(len(left), len(right))
    return next((n for n in range(size) if left[n] != right[n]), size - 1 if size else 0)


def _openai_preference(record: dict[str, Any]) -> Shaped:
    row = Shaped("preference", "openai-preference", ("input", "preferred_output", "non_preferred_output"))
    given = record["input"]
    prompt = given.get("messages") if isinstance(given, dict) else given
    row.messages = list(row.say(prompt, "input.messages"))
    row.prompt_messages = len(row.messages)
    row.rejected = row.say(record["non_preferred_output"], "non_preferred_output", "assistant", "rejected")
    row.messages = row.messages + row.say(record["preferred_output"], "preferred_output", "assistant")
    if isinstance(given, dict) and given.get("tools"):
        row.extra = {"tools": given["tools"]}
    return row


def _reward(record: dict[str, Any]) -> Shaped:
    reference = _first(record, REFERENCES)
    prompt = _first(record, PROMPTS)
    row = Shaped("reward", "reward", (prompt, reference))
    row.messages += row.say(record[prompt], prompt)
    value = record[reference]
    row.extra = {"reference": value}
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    row.turns.append(("reference", "reference", text, None))
    return row


def _text(record: dict[str, Any]) -> Shaped:
    row = Shaped("text", "text", ("text",))
    row.extra = {"text": record["text"]}
    if isinstance(record["text"], str):
        row.turns.append(("text", "text", record["text"], None))
    else:
        row.faults.append(("wrong-type", None, f"`text` is {type_name(record['text'])}", "text"))
    return row


SHAPES: tuple[tuple[tuple[tuple[str, ...], ...], Kind, Mapper], ...] = (
    ((("input",), ("preferred_output",), ("non_preferred_output",)), "preference", _openai_preference),
    ((("chosen",), ("rejected",)), "preference", _preference),
    ((("messages",),), "chat", _chat),
    ((("conversations", "conversation"),), "chat", _sharegpt),
    ((("instruction",), ("output", "response", "completion")), "prompt-completion", _alpaca),
    ((("prompt",), ("completion",), ("label",)), "feedback", _feedback),
    ((("prompt", "question", "query"), REFERENCES), "reward", _reward),
    ((("prompt", "question", "query"), COMPLETIONS), "prompt-completion", _prompt_completion),
    ((("input",), ("output", "target", "completion", "response")), "prompt-completion", _prompt_completion),
    ((("text",),), "text", _text),
)
"""Keys that must be there (one of each group), the kind, and how to read it; most specific first."""
