"""BAL803 opening-phrase."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import ClassVar

import polars as pl
from pydantic import Field

from curate.rows import Corpus
from curate.rules.base import Example, FileHit, Hit, Rule, Scope
from schemas.finding import Severity
from schemas.terminal import printable

OPENING = r"^\s*((?:[^\s]+\s+){2}[^\s]+)\s"
"""The first three words, with more behind them."""


def opened(same: int, other: int) -> Example:
    """A file of answers of which so many begin alike."""
    rows = [Example.chat(f"question {n}", f"Sure, I can help with number {n}.").lines[0] for n in range(same)]
    rows += [Example.chat(f"thing {n}", f"{n} is one of many numbers there are.").lines[0] for n in range(other)]
    return Example(tuple(rows))


class OpeningPhrase(Rule):
    """A file in which a large share of the answers begins with the same words.

    ## What it does
    Compares the first three words of all answers of more than three words, case apart, and reports the file if one
    opening has a share of `max_share` or more of at least `min_answers` answers.

    ## Why
    The model picks the phrase up after a few hundred steps and begins everything with it ("Sure, I can", "As an AI").

    ## Known problems
    Answers in a fixed format (JSON, a form) begin alike on purpose; text without blanks between words is not looked at.

    ## Source
    The opening n-grams that papers on instruction data count, such as Wang et al. 2023, arXiv:2212.10560.
    """

    code: ClassVar[str] = "BAL803"
    name: ClassVar[str] = "opening-phrase"
    severity: ClassVar[Severity] = Severity.INFO
    scope: ClassVar[Scope] = Scope.FILE
    help: ClassVar[str] = "reword or cut the opening, unless the format asks for it"
    fires: ClassVar[tuple[Example, ...]] = (opened(30, 30),)
    silent: ClassVar[tuple[Example, ...]] = (opened(5, 60), opened(20, 0))

    max_share: float = Field(default=0.2, gt=0.0, le=1.0)
    """Share of answers with one opening from which on the file is reported."""
    min_answers: int = Field(default=50, ge=1)
    """Files with fewer answers of more than three words are left alone."""

    def find(self, corpus: Corpus) -> Iterable[Hit]:
        """Nothing: the fault is no row's."""
        return ()

    def find_in_files(self, corpus: Corpus) -> Iterator[FileHit]:
        """One hit for each file with an opening that is used too often."""
        openings = (
            corpus.turns.lazy()
            .filter((pl.col("role") == "assistant") & (pl.col("part") == "messages"))
            .select("index", opening=pl.col("content").str.slice(0, 120).str.extract(OPENING).str.to_lowercase())
            .drop_nulls("opening")
            .join(corpus.rows.lazy().select("index", "source"), on="index")
            .group_by("source", pl.col("opening").str.replace_all(r"\s+", " "))
            .agg(count=pl.len())
            .with_columns(answers=pl.col("count").sum().over("source"))
            .filter((pl.col("answers") >= self.min_answers) & (pl.col("count") >= self.max_share * pl.col("answers")))
            .sort("source", "count", "opening", descending=[False, True, False])
            .collect()
        )
        for source, opening, count, total in openings.iter_rows():
            message = f"{count:,} of {total:,} answers ({count / total:.2f}) begin with {printable(opening)!r}"
            evidence = {"opening": opening, "count": count, "answers": total, "share": round(count / total, 4)}
            yield FileHit(source, None, message, evidence, detail=opening)
