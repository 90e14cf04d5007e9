"""BAL804 repeated-prompt."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

import polars as pl
from pydantic import Field

from curate.labels import row_answers
from curate.rows import Corpus
from curate.rules.base import Example, FileHit, Hit, Rule, Scope
from schemas.finding import Severity


def asked(same: int, other: int) -> Example:
    """A file in which so many rows ask the same."""
    rows = [Example.chat("Tell me a story.", f"Once there was a number {n}.").lines[0] for n in range(same)]
    rows += [Example.chat(f"What is {n}?", f"A number, called {n}.").lines[0] for n in range(other)]
    return Example(tuple(rows))


class RepeatedPrompt(Rule):
    """A file in which nearly all rows ask the same.

    ## What it does
    Counts the different prompts (all turns before the answer, case and white space apart) and reports the file if one
    of them makes up `max_share` or more of at least `min_rows` rows.

    ## Why
    The model learns to answer that prompt, or to ignore the prompt: whatever is asked, the same kind of answer comes.

    ## Known problems
    Sampling many answers to one prompt on purpose looks the same. Plain text rows have no prompt and do not count.

    ## Source
    Counts of distinct prompts in instruction data; the collapse is a common report of users.
    """

    code: ClassVar[str] = "BAL804"
    name: ClassVar[str] = "repeated-prompt"
    severity: ClassVar[Severity] = Severity.WARNING
    scope: ClassVar[Scope] = Scope.FILE
    help: ClassVar[str] = "put what differs between the rows into the prompt, or add other prompts"
    fires: ClassVar[tuple[Example, ...]] = (asked(50, 30),)
    silent: ClassVar[tuple[Example, ...]] = (asked(10, 60), asked(40, 0))

    max_share: float = Field(default=0.5, gt=0.0, le=1.0)
    """Share of rows with one prompt from which on the file is reported."""
    min_rows: int = Field(default=50, ge=1)
    """Files with fewer prompts are left alone."""

    def find(self, corpus: Corpus) -> Iterable[Hit]:
        """Nothing: the fault is no row's."""
        return ()

    def find_in_files(self, corpus: Corpus) -> Iterator[FileHit]:
        """One hit for each file with a prompt that nearly all rows share."""
        prompts = (
            row_answers(corpus)
            .drop_nulls("prompt")
            .group_by("source", "prompt")
            .agg(count=pl.len(), first=pl.col("index").min())
            .with_columns(rows=pl.col("count").sum().over("source"), distinct=pl.len().over("source"))
            .filter((pl.col("rows") >= self.min_rows) & (pl.col("count") >= self.max_share * pl.col("rows")))
            .sort("source", "count", "first", descending=[False, True, False])
        )
        for source, _, count, first, rows, distinct in prompts.iter_rows():
            place = corpus.place(first)
            message = f"{count:,} of {rows:,} rows ({count / rows:.2f}) ask the same"
            evidence = {
                "count": count,
                "rows": rows,
                "distinct_prompts": distinct,
                "share": round(count / rows, 4),
                "first_line": place.line,
                "first_row": place.row,
            }
            yield FileHit(source, None, message, evidence, detail="one prompt")
