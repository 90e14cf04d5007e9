"""SCH141 metadata-schema."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

import orjson
import polars as pl

from curate.rows import Corpus
from curate.rules.base import Example, Hit
from curate.user_schema import SchemaRule
from schemas.finding import Severity

SCHEMA = {"type": "object", "properties": {"score": {"type": "number", "maximum": 1}}, "required": ["source"]}


def _row(**metadata: Any) -> Example:
    return Example(({"text": "a"} | metadata,), options={"json_schema": SCHEMA})


class MetadataSchema(SchemaRule):
    """A row whose metadata does not meet the schema that you gave for it.

    ## What it does
    With `json_schema` or `pydantic_model` set, checks the metadata of each row: every field that is no content, those
    inside an object `metadata` beside the others. A row without metadata is checked as an empty object.

    ## Why
    Splits by group, filters by score and counts by source go wrong in silence where a field is missing or misspelt.

    ## Known problems
    References to other files and to the network are refused. A pydantic model is Python of yours, and is run. In CSV
    files every value is text.

    ## Source
    JSON Schema, drafts 4 to 2020-12, formats included.
    """

    code: ClassVar[str] = "SCH141"
    name: ClassVar[str] = "metadata-schema"
    severity: ClassVar[Severity] = Severity.ERROR
    help: ClassVar[str] = "correct the metadata, or the schema"
    fires: ClassVar[tuple[Example, ...]] = (_row(), _row(source="web", score="0.5"), _row(source="web", score=2))
    silent: ClassVar[tuple[Example, ...]] = (
        _row(source="web"),
        _row(metadata={"source": "web", "score": 0.5}),
        Example(({"text": "a"},)),
    )

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each row.

        Raises:
            UserError: the file of the model cannot be run, or its model fails with an error of its own.
        """
        if self.idle_reason(corpus) is not None:
            return
        rows = corpus.rows.filter(pl.col("kind").is_not_null()).select("index", pl.col("metadata").fill_null("{}"))
        for batch in rows.iter_slices(10_000):
            for index, text in batch.iter_rows():
                hit = self.hit(index, None, "the metadata", text, orjson.loads(text))
                if hit is not None:
                    yield hit
