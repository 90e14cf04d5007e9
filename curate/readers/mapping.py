"""From a record as it stands in a file to turns: the shapes of OpenAI, TRL, ShareGPT, Alpaca and verl.

A shape is recognised by the record's keys alone, so that one look serves every record with the same keys.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

import orjson

from curate.readers.shapes import COMPLETIONS, PROMPTS, REFERENCES, Shaped, from_sharegpt, type_name
from schemas.records import Kind

Mapper = Callable[[dict[str, Any]], Shaped | None]
PREFERENCE_PROMPTS = ("prompt", "question", "instruction", "query", "messages", "conversations", "input")
ASSISTANT_SPEAKS = "\n\nAssistant:"


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
            # A column that is mapped wins over one that has our name by itself.
            mapped = {renames[key]: value for key, value in record.items() if key in renames}
            record = {key: value for key, value in record.items() if key not in renames} | mapped
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
    messages = record["messages"]
    if isinstance(messages, list) and messages and isinstance(messages[0], dict) and "from" in messages[0]:
        row.shape, messages = "sharegpt", [from_sharegpt(turn) for turn in messages]
    system = record.get("system")
    if (
        system is not None
        and isinstance(system, str)
        and isinstance(messages, list)
        and not _begins_with_system(messages)
    ):
        row.content_keys = (*row.content_keys, "system")
        messages = [{"role": "system", "content": system}, *messages]
    row.messages = row.add(messages, "messages", "messages")
    if len(record) > 1:
        row.extra = {key: record[key] for key in row.content_keys[1:4] if record.get(key) is not None}
    return row


def _begins_with_system(messages: list[Any]) -> bool:
    first = messages[0] if messages else None
    return isinstance(first, dict) and first.get("role") in ("system", "developer")


def _batch(record: dict[str, Any]) -> Shaped | None:
    """A line of OpenAI's batch files: the request stands in `body`."""
    body = record["body"]
    if not isinstance(body, dict) or "messages" not in body:
        return None
    row = _chat(body)
    row.shape, row.content_keys = "openai-batch", ("body",)
    return row


def _sharegpt(record: dict[str, Any]) -> Shaped:
    name = _first(record, ("conversations", "conversation"))
    row = Shaped("chat", "sharegpt", (name, "system", "tools"))
    turns = record[name]
    if isinstance(turns, list):
        turns = _with_system([from_sharegpt(turn) for turn in turns], record)
    row.messages = row.add(turns, "messages", name)
    if record.get("tools"):
        row.extra = {"tools": record["tools"]}
    return row


def _with_system(messages: list[Any], record: dict[str, Any]) -> list[Any]:
    system = record.get("system")
    return [{"role": "system", "content": system}, *messages] if isinstance(system, str) and system else messages


def _say_system(row: Shaped, record: dict[str, Any]) -> None:
    if isinstance(record.get("system"), str) and record["system"]:
        row.messages += row.say(record["system"], "system", "system")


def _alpaca(record: dict[str, Any]) -> Shaped:
    answer = _first(record, ("output", "response", "completion"))
    context = "input" if "input" in record else "context"  # databricks-dolly calls it so
    row = Shaped("prompt-completion", "alpaca", ("instruction", context, "system", answer))
    _say_system(row, record)
    if _history(record):
        row.content_keys = (*row.content_keys, "history")
    for asked, answered in _history(record):
        row.messages += row.say(asked, "history") + row.say(answered, "history", "assistant")
    row.messages += row.say(_instruction(record, context), "instruction")
    row.messages += row.say(record[answer], answer, "assistant")
    return row


def _history(record: dict[str, Any]) -> list[list[Any]]:
    """Rounds before the instruction, as LLaMA-Factory writes them: pairs of prompt and answer."""
    history = record.get("history")
    rounds = history if isinstance(history, list) else []
    return rounds if all(isinstance(pair, list) and len(pair) == 2 for pair in rounds) else []


def _instruction(record: dict[str, Any], context: str = "input") -> Any:
    instruction, beside = record["instruction"], record.get(context)
    if isinstance(instruction, str) and isinstance(beside, str) and beside:
        return f"{instruction}\n\n{beside}" if instruction else beside
    return instruction


def _prompt_completion(record: dict[str, Any]) -> Shaped:
    prompt = _first(record, PROMPTS)
    answer = _first(record, COMPLETIONS, but=prompt)
    row = Shaped("prompt-completion", "prompt-completion", (prompt, answer, "system", "tools"))
    _say_system(row, record)
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
    row = Shaped("preference", "preference", ("chosen", "rejected", "tools"))
    prompt = next((name for name in PREFERENCE_PROMPTS if name in record), None)
    chosen, rejected = record["chosen"], record["rejected"]
    if prompt:
        row.content_keys = (*row.content_keys, prompt, "system", *(("input",) if prompt == "instruction" else ()))
        _say_system(row, record)
        row.messages += row.say(_instruction(record) if prompt == "instruction" else record[prompt], prompt)
    if isinstance(chosen, list) and isinstance(rejected, list):
        # Both may repeat the conversation before the answer: what they share is the prompt.
        shared = 0 if prompt else _shared_prefix(chosen, rejected)
        row.messages += row.add(chosen[:shared], "messages", "chosen")
        chosen, rejected = chosen[shared:], rejected[shared:]
        if prompt and row.messages and chosen[: len(row.messages)] == row.messages == rejected[: len(row.messages)]:
            chosen, rejected = chosen[len(row.messages) :], rejected[len(row.messages) :]
    elif not prompt and isinstance(chosen, str) and isinstance(rejected, str):
        shared = _spoken_prefix(chosen, rejected)
        if shared:
            row.messages += row.say(chosen[:shared], "chosen")
            chosen, rejected = chosen[shared:].lstrip(), rejected[shared:].lstrip()
    row.prompt_messages = len(row.messages)
    row.rejected = row.say(rejected, "rejected", "assistant", "rejected")
    row.messages = row.messages + row.say(chosen, "chosen", "assistant")
    if record.get("tools"):
        row.extra = {"tools": record["tools"]}
    return row


def _spoken_prefix(chosen: str, rejected: str) -> int:
    """Characters that two dialogues written as one text share, up to where the assistant last begins to speak.

    So hh-rlhf of Anthropic is written, with the prompt in both answers.
    """
    shared = os.path.commonprefix([chosen, rejected])  # noqa: RUF071 - characters are what is compared
    begins = shared.rfind(ASSISTANT_SPEAKS)
    return begins + len(ASSISTANT_SPEAKS) if begins >= 0 else 0


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
    return _with_reference(row, record[reference])


def _with_reference(row: Shaped, value: Any) -> Shaped:
    if isinstance(value, dict) and "ground_truth" in value:  # verl's `reward_model`
        value = value["ground_truth"]
    row.extra = {**row.extra, "reference": value}
    text = value if isinstance(value, str) else orjson.dumps(value).decode()
    row.turns.append(("reference", "reference", text, None))
    return row


def _reward_chat(record: dict[str, Any]) -> Shaped:
    """Messages that end with the question, and a reference beside them: OpenAI's reinforcement fine-tuning."""
    row = _chat(record)
    last = row.messages[-1] if row.messages else None
    if isinstance(last, dict) and last.get("role") != "assistant":
        name = _first(record, REFERENCES)
        row.kind, row.shape, row.content_keys = "reward", "reward", (*row.content_keys, name)
        _with_reference(row, record[name])
    return row


def _text(record: dict[str, Any]) -> Shaped | None:
    name = _first(record, ("text", "content"))
    if name == "content" and "role" in record:
        return None  # a message without its conversation
    row = Shaped("text", "text", (name,))
    row.extra = {"text": record[name]}
    if isinstance(record[name], str):
        row.turns.append(("text", "text", record[name], None))
    else:
        row.faults.append(("wrong-type", None, f"`{name}` is {type_name(record[name])}", "text"))
    return row


SHAPES: tuple[tuple[tuple[tuple[str, ...], ...], Kind, Mapper], ...] = (
    ((("input",), ("preferred_output",), ("non_preferred_output",)), "preference", _openai_preference),
    ((("chosen",), ("rejected",)), "preference", _preference),
    ((("messages",), REFERENCES), "chat", _reward_chat),
    ((("messages",), REFERENCES), "reward", _reward_chat),
    ((("messages",),), "chat", _chat),
    ((("body",), ("custom_id", "url", "method")), "chat", _batch),
    ((("conversations", "conversation"),), "chat", _sharegpt),
    ((("instruction",), ("output", "response", "completion")), "prompt-completion", _alpaca),
    ((("prompt",), ("completion",), ("label",)), "feedback", _feedback),
    ((("prompt", "question", "query", "problem"), REFERENCES), "reward", _reward),
    ((("prompt", "question", "query", "problem"), COMPLETIONS), "prompt-completion", _prompt_completion),
    ((("input",), ("output", "target", "completion", "response")), "prompt-completion", _prompt_completion),
    ((("text", "content"),), "text", _text),
)
"""Keys that must be there (one of each group), the kind, and how to read it; most specific first."""
