"""BAL805 length-skew."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

import polars as pl
from pydantic import Field

from curate.rows import Corpus
from curate.rules.base import Example, FileHit, Hit, Rule, Scope
from schemas.finding import Severity

PART = 0.01


def sized(short: int, long: int, chars: int) -> Example:
    """A file of short rows and a few long ones."""
    rows = [Example.chat(f"question {n}", f"It is number {n}.").lines[0] for n in range(short)]
    rows += [Example.chat(f"essay {n}", f"{n} and so on. " * (chars // 14)).lines[0] for n in range(long)]
    return Example(tuple(rows))


class LengthSkew(Rule):
    """A file of which a hundredth of the rows holds much of the text.

    ## What it does
    Reports a file of at least `min_rows` rows if its longest 1% hold `max_share` or more of all characters.

    ## Why
    Most of the gradient comes from those rows where loss is averaged over tokens; batches are padded to their length,
    and they are the rows that get truncated.

    ## Known problems
    Some tasks are like that (many questions, a few documents).

    ## Source
    Share of the largest items, as in the Lorenz curve; loss averaged over tokens as transformers' trainer does it.
    """

    code: ClassVar[str] = "BAL805"
    name: ClassVar[str] = "length-skew"
    severity: ClassVar[Severity] = Severity.INFO
    scope: ClassVar[Scope] = Scope.FILE
    help: ClassVar[str] = "look at the longest rows: split them, or group rows by length in training"
    fires: ClassVar[tuple[Example, ...]] = (sized(198, 2, 6000),)
    silent: ClassVar[tuple[Example, ...]] = (sized(198, 2, 200), sized(50, 1, 6000))

    max_share: float = Field(default=0.5, gt=0.0, le=1.0)
    """Share of the characters from which on the file is reported."""
    min_rows: int = Field(default=200, ge=100)
    """Files with fewer rows are left alone."""

    def find(self, corpus: Corpus) -> Iterable[Hit]:
        """Nothing: the fault is no row's."""
        return ()

    def find_in_files(self, corpus: Corpus) -> Iterator[FileHit]:
        """One hit for each file with few rows that hold much of its text."""
        sizes = (
            corpus.turns.lazy()
            .group_by("index")
            .agg(chars=pl.col("content").str.len_chars().sum())
            .join(corpus.rows.lazy().select("index", "source", "line"), on="index")
            .sort("source", "chars", "index", descending=[False, True, False])
            .with_columns(place=pl.int_range(pl.len()).over("source"), rows=pl.len().over("source"))
            .filter(pl.col("rows") >= self.min_rows)
            .with_columns(part=(pl.col("rows") * PART).floor().cast(pl.Int64))
            .group_by("source", "rows", "part", maintain_order=True)
            .agg(
                held=pl.col("chars").filter(pl.col("place") < pl.col("part")).sum(),
                chars=pl.col("chars").sum(),
                lines=pl.col("line").filter(pl.col("place") < 10),
            )
            .filter(pl.col("held") >= self.max_share * pl.col("chars"))
            .collect()
        )
        for source, rows, part, held, chars, lines in sizes.iter_rows():
            message = f"{part:,} of {rows:,} rows hold {held / chars:.2f} of the text"
            evidence = {"rows": part, "share": round(held / chars, 4), "longest_lines": lines}
            yield FileHit(source, None, message, evidence, detail="longest hundredth")
