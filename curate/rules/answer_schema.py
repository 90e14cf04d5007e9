"""SCH140 answer-schema."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import orjson
import polars as pl

from curate.readers.builder import loads
from curate.rows import Corpus
from curate.rules.base import Action, Example, Hit
from curate.user_schema import SchemaRule
from schemas.finding import Severity

KINDS = ("chat", "prompt-completion", "preference")
SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["spam", "ham"]}},
    "required": ["label"],
    "additionalProperties": False,
}


def _answer(text: str, **options: Any) -> Example:
    rows = Example.chat("Is it spam?", text).lines
    return Example(rows, options={"json_schema": SCHEMA} | options)


class AnswerSchema(SchemaRule):
    """An answer that does not meet the schema that you gave for answers.

    ## What it does
    With `json_schema` or `pydantic_model` set, reads answers as JSON and checks them: the last assistant turn of each
    row, or every one with `turns: all`. What is not JSON is reported as such. Turns that call tools and say nothing are
    left out, and so are rejected answers and feedback, where a bad answer may be meant.

    ## Why
    A model that is to write JSON learns its mistakes from the rows: a missing field, another spelling of a label, text
    around the object.

    ## Known problems
    References to other files and to the network are refused. A pydantic model is Python of yours, and is run.

    ## Source
    JSON Schema, drafts 4 to 2020-12, formats included; OpenAI's guide to structured outputs.
    """

    code: ClassVar[str] = "SCH140"
    name: ClassVar[str] = "answer-schema"
    severity: ClassVar[Severity] = Severity.ERROR
    default_action: ClassVar[Action] = Action.DROP
    help: ClassVar[str] = "correct the answer, or the schema"
    fires: ClassVar[tuple[Example, ...]] = (
        _answer("spam"),
        _answer('{"label": "eggs"}'),
        _answer("{}"),
        _answer('{"label": "ham", "why": "x"}'),
        _answer('```json\n{"label": "ham"}\n```'),
        _answer('{"label": "ham"} I hope this helps.'),
        _answer('{"label": "ham", "label": NaN}'),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        _answer('{"label": "ham"}'),
        _answer(' {"label":\n "spam"} '),
        _answer("spam", json_schema=None),
        Example(({"text": "not an answer"},), options={"json_schema": SCHEMA}),
    )

    turns: Literal["last", "all"] = "last"
    """Which assistant turns are checked."""

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each answer that does not meet the schema.

        Raises:
            UserError: the file of the model cannot be run, or its model fails with an error of its own.
        """
        if self.idle_reason(corpus) is not None:
            return
        kinds = corpus.rows.lazy().filter(pl.col("kind").is_in(KINDS)).select("index")
        said = (pl.col("part") == "messages") & (pl.col("role") == "assistant")
        turns = corpus.turns.lazy().filter(said).select("index", "turn", "content", "calls")
        if self.turns == "last":
            turns = turns.filter(pl.col("turn") == pl.col("turn").max().over("index"))
        answers = turns.filter(
            pl.col("content").is_not_null() & ~((pl.col("content") == "") & pl.col("calls").is_not_null())
        )
        found = answers.join(kinds, on="index", how="semi", maintain_order="left").select("index", "turn", "content")
        for batch in found.collect().iter_slices(10_000):
            for index, turn, text in batch.iter_rows():
                hit = self._checked(index, turn, text)
                if hit is not None:
                    yield hit

    def _checked(self, index: int, turn: int, text: str) -> Hit | None:
        try:
            value = loads(text)
        except orjson.JSONDecodeError as error:
            fenced = "a code fence around it" if text.lstrip().startswith("```") else f"{text.strip()[:40]!r}"
            where = "" if fenced.startswith("a code") else f" ({error.msg} at character {error.pos + 1})"
            evidence = {"path": "$", "found": fenced, "expected": "JSON and nothing else"}
            return Hit(index, f"the answer is not JSON{where}", turn, evidence, "not JSON")
        return self.hit(index, turn, "the answer", text, value)
