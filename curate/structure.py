"""What messages hold beside their text: tool calls, their results, weights. Read once for all rules about it.

Few rows have any of it, and the columns of a corpus say which; only those are parsed again.
"""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
import polars as pl

from curate.json_schema import compile_schema, reference_count
from curate.readers.builder import loads
from curate.readers.mapping import shape_records
from curate.readers.shapes import Shaped, type_name
from curate.rows import Corpus
from curate.rules.base import Hit, Rule
from schemas.errors import UserError
from schemas.finding import Severity

SHOWN_CHARS = 120
FUNCTION_NAME = r"[a-zA-Z0-9_-]{1,64}"
"""What OpenAI takes as the name of a function."""


class Flaw(NamedTuple):
    """Something wrong with a turn, or with what stands beside the turns (a null turn)."""

    turn: int | None
    message: str
    found: str
    expected: str
    severity: Severity | None = None
    """Where it differs from the rule's."""


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a tool as a message gives it; what is not there, or of another type, is null."""

    turn: int
    id: str | None
    name: str | None
    arguments: Any
    given: bool
    """Whether `arguments` is there at all."""
    legacy: bool
    """It is a `function_call`, which has no id."""


@dataclass(slots=True)
class Conversation:
    """The messages of one row from the first to the last; a pair of answers makes two of them."""

    index: int
    shape: str
    messages: list[Any]
    first: int
    """The first turn that is reported; the ones before belong to the other answer as well."""
    extra: dict[str, Any]
    """`tools`, `functions` and what else stands beside the messages."""
    weights: list[tuple[str, int, Any]]
    calls: list[Call] = field(init=False)
    tools: Any = field(init=False)
    """The declared tools; text that is JSON is read as such."""
    declared: dict[str, Any] = field(init=False)
    """Name of each well-formed tool -> its parameters."""

    def __post_init__(self) -> None:
        self.calls = [call for turn, message in enumerate(self.messages) for call in calls_of(turn, message)]
        self.tools = _parsed(self.extra.get("tools"))
        self.declared = {}
        for tools in (self.tools, self.extra.get("functions")):
            for tool in tools if isinstance(tools, list) else []:
                function = function_of(tool)
                if function is not None and isinstance(function.get("name"), str):
                    self.declared.setdefault(function["name"], function.get("parameters"))

    def role(self, turn: int) -> Any:
        """The role of a message; null where it is no object."""
        message = self.messages[turn]
        return message.get("role") if isinstance(message, dict) else None


def _parsed(tools: Any) -> Any:
    if isinstance(tools, str):
        try:
            return loads(tools)
        except orjson.JSONDecodeError:
            return tools
    return tools


def function_of(tool: Any) -> dict[str, Any] | None:
    """The definition inside a tool: OpenAI wraps it in `function`, others give it as it is; null for neither."""
    if not isinstance(tool, dict):
        return None
    inner = tool.get("function", tool)
    return inner if isinstance(inner, dict) else None


def calls_of(turn: int, message: Any) -> Iterator[Call]:
    """Every call of a message that is an object; broken ones with nulls."""
    if not isinstance(message, dict):
        return
    given = message.get("tool_calls")
    for call in given if isinstance(given, list) else []:
        if isinstance(call, dict):
            function = function_of(call) or {}
            own = call.get("id")
            yield _call(turn, function, own if isinstance(own, str) and own else None, legacy=False)
    if isinstance(legacy := message.get("function_call"), dict):
        yield _call(turn, legacy, None, legacy=True)


def _call(turn: int, function: dict[str, Any], own: str | None, *, legacy: bool) -> Call:
    name = function.get("name")
    known = name if isinstance(name, str) and name else None
    return Call(turn, own, known, function.get("arguments"), "arguments" in function, legacy)


class StructureRule(Rule):
    """Base of rules about what messages hold beside their text: all of them look at a row in one pass."""

    @classmethod
    @abstractmethod
    def flaws(cls, conversation: Conversation) -> Iterator[Flaw]:
        """What the rule finds wrong in a conversation, in the order of the turns."""

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """The hits of this rule from the pass that all rules of this base share."""
        return iter(corpus.remembered("structure", lambda: _structure(corpus)).get(self.name, ()))


def _structure(corpus: Corpus) -> dict[str, list[Hit]]:
    from curate.rules.catalogue import all_rules

    rules = [rule for rule in all_rules() if issubclass(rule, StructureRule)]
    hits: dict[str, list[Hit]] = {rule.name: [] for rule in rules}
    for index, shaped in shaped_rows(corpus, structured_rows(corpus)):
        for conversation in conversations_of(index, shaped):
            for rule in rules:
                for flaw in rule.flaws(conversation):
                    if flaw.turn is None or flaw.turn >= conversation.first:
                        evidence = {"found": flaw.found[:SHOWN_CHARS], "expected": flaw.expected}
                        detail = f"{flaw.message}\n{flaw.found}"
                        hit = Hit(index, flaw.message, flaw.turn, evidence, detail, severity=flaw.severity)
                        hits[rule.name].append(hit)
    return hits


def structured_rows(corpus: Corpus) -> pl.DataFrame:
    """Rows of a known shape with tool calls, results of tools, declared tools or weights."""
    calls = pl.col("calls").is_not_null() | pl.col("role").is_in(["tool", "function"])
    speak = corpus.turns.lazy().filter(calls).select("index").unique().collect()["index"]
    # A label is beside every feedback row; tools that no turn calls are not worth reading them all again.
    beside = pl.col("beside").is_not_null() & (pl.col("kind") != "feedback")
    return corpus.rows.filter(pl.col("kind").is_not_null() & (beside | pl.col("index").is_in(speak.implode())))


def shaped_rows(corpus: Corpus, rows: pl.DataFrame) -> Iterator[tuple[int, Shaped]]:
    """The records of some rows in their shapes, as they were read."""
    shapers = {kind: shape_records(corpus.columns, kind) for kind in rows["kind"].unique()}
    for index, kind, record in zip(rows["index"], rows["kind"], corpus.records(rows), strict=True):
        shaped = shapers[kind](record)
        if shaped is not None:
            yield index, shaped


def conversations_of(index: int, shaped: Shaped) -> Iterator[Conversation]:
    """One conversation, or two where an answer is set against another one."""
    weights = [weight for weight in shaped.weights if weight[0] != "rejected"]
    yield Conversation(index, shaped.shape, shaped.messages, 0, shaped.extra, weights)
    if shaped.rejected:
        weights = [weight for weight in shaped.weights if weight[0] == "rejected"]
        prompt = shaped.messages[: shaped.prompt_messages]
        yield Conversation(index, shaped.shape, prompt + shaped.rejected, len(prompt), shaped.extra, weights)


@functools.lru_cache(maxsize=4096)
def compiled_schema(parameters: bytes) -> Any:
    """A validator for the parameters of a tool, given as JSON; null where they are no schema or too tangled.

    The schema comes with the data: it fetches nothing, its patterns run in linear time, and one whose references could
    multiply without end is not compiled.
    """
    schema = orjson.loads(parameters)
    if reference_count(parameters) > MAX_REFERENCES:
        return None
    try:
        return compile_schema(schema)
    except UserError:
        return None


MAX_REFERENCES = 32
"""`$ref`s of a schema that came with the data: 32 can stand for some 100,000 subschemas, 64 for 10,000,000,000."""


def shown(value: Any) -> str:
    """A value as a message names it: short, and in JSON's words where it is no text."""
    return repr(value[:60]) if isinstance(value, str) else type_name(value)
