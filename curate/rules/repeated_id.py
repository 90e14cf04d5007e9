"""SCH135 repeated-id."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import polars as pl
from pydantic import Field

from curate.rows import Corpus
from curate.rules.base import Example, Hit, Rule, Scope
from schemas.finding import Severity


def _rows(*ids: object) -> Example:
    return Example(tuple({"id": own, "text": f"Row number {number} of this file."} for number, own in enumerate(ids)))


class RepeatedId(Rule):
    """Two rows of a file with the same id and different content.

    ## What it does
    Compares the top-level metadata field `field` of the rows of each file. Rows with the same content are left to
    exact-duplicate. Where fewer than half of the values are distinct, the field names a group and not a row, and
    nothing is reported.

    ## Why
    Whatever joins by id (annotations, splits, scores, a list of rows to drop) takes the wrong row. Often two exports
    were put together.

    ## Known problems
    Ids of conversations that were cut into several rows are reported, if most conversations gave one row.

    ## Source
    House style.
    """

    code: ClassVar[str] = "SCH135"
    name: ClassVar[str] = "repeated-id"
    severity: ClassVar[Severity] = Severity.WARNING
    scope: ClassVar[Scope] = Scope.FILE
    help: ClassVar[str] = "give each row an id of its own, for example the file's name before the number"
    fires: ClassVar[tuple[Example, ...]] = (_rows("a", "b", "a"), _rows(1, 2, 2, 3))
    silent: ClassVar[tuple[Example, ...]] = (
        _rows("a", "b", "c"),
        _rows("x", "x", "x", "y", "x"),
        _rows(None, None),
        _rows(1, "1 "),
        Example(({"id": "a", "text": "same"}, {"id": "a", "text": "same"})),
    )

    field: str = Field(default="id", pattern=r"^\w+$")
    """Metadata field that names a row."""

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each row after the first that has its id."""
        held = pl.col("metadata").str.contains(f'"{self.field}":', literal=True)
        rows = (
            corpus.rows.lazy()
            .filter(held & pl.col("row_id").is_not_null())
            .select("index", "source", "row_id", "metadata")
        )
        named = rows.select(
            "index", "source", "row_id", own=pl.col("metadata").str.json_path_match(f"$.{self.field}")
        ).filter(pl.col("own").is_not_null())
        naming = pl.col("own").n_unique().over("source") * 2 >= pl.len().over("source")
        key = ["source", "own"]
        found = (
            named.filter(naming)
            .filter(pl.col("row_id").n_unique().over(key) > 1)
            .with_columns(twin=pl.col("index").first().over(key), first=pl.col("row_id").first().over(key))
            .filter(pl.col("row_id") != pl.col("first"))
            .sort("index")
        )
        for index, own, twin in found.select("index", "own", "twin").collect().iter_rows():
            yield Hit(
                index,
                f"the {self.field} {own[:60]!r} is that of another row",
                evidence={"found": own[:200], "expected": "an id of its own"},
                detail=own[:200],
                twin=twin,
                measure=f"same-{self.field}",
                similarity=1.0,
            )
