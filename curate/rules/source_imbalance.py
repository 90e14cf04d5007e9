"""BAL806 source-imbalance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Annotated, ClassVar

import polars as pl
from pydantic import Field

from curate.literals import contains_literal
from curate.rows import Corpus
from curate.rules.base import Example, FileHit, Hit, Rule, Scope
from schemas.finding import Severity
from schemas.terminal import printable

SHOWN = 10
UNNAMED = "(none)"


def sourced(**counts: int) -> Example:
    """A file whose rows name where they are from, each source as often as it is said here."""
    rows = [
        Example.chat(f"{name} {n}", f"answer {n}").lines[0] | {"source": name}
        for name, count in counts.items()
        for n in range(count)
    ]
    return Example(tuple(rows))


class SourceImbalance(Rule):
    """A mixture in which one source makes up nearly all rows.

    ## What it does
    Where rows name their source in a metadata field (one of `fields`) and a file has two or more sources, reports the
    file if one of them has a share of `max_share` or more of at least `min_rows` rows.

    ## Why
    A mixture that is meant to teach several things teaches one; a source of a few rows adds noise at most.

    ## Known problems
    Small additions to a large set are often meant to be small.

    ## Source
    Reports on mixing instruction data, such as Wang et al. 2023, arXiv:2306.04751.
    """

    code: ClassVar[str] = "BAL806"
    name: ClassVar[str] = "source-imbalance"
    severity: ClassVar[Severity] = Severity.INFO
    scope: ClassVar[Scope] = Scope.FILE
    help: ClassVar[str] = "sample the large source, or weight the mixture on purpose"
    fires: ClassVar[tuple[Example, ...]] = (sourced(web=58, experts=2),)
    silent: ClassVar[tuple[Example, ...]] = (sourced(web=40, experts=20), sourced(web=60), sourced(web=20, experts=1))

    fields: tuple[Annotated[str, Field(pattern=r"^[\w .-]+$")], ...] = ("source", "dataset", "origin")
    """Metadata fields that may name the source; the first that a row has counts."""
    max_share: float = Field(default=0.9, gt=0.0, le=1.0)
    """Share of one source from which on the file is reported."""
    min_rows: int = Field(default=50, ge=1)
    """Files with fewer rows are left alone."""

    def find(self, corpus: Corpus) -> Iterable[Hit]:
        """Nothing: the fault is no row's."""
        return ()

    def find_in_files(self, corpus: Corpus) -> Iterator[FileHit]:
        """One hit for each file with a source that crowds out the others."""
        named = corpus.rows.filter(contains_literal(pl.col("metadata"), [f'"{field}":' for field in self.fields]))
        for (source,), rows in named.group_by("source", maintain_order=True):
            origins = pl.coalesce(
                pl.col("metadata").str.json_path_match(f"$['{field}']") for field in self.fields
            ).fill_null(UNNAMED)
            counts = (
                rows.select(origin=origins)
                .group_by("origin")
                .len("count")
                .sort("count", "origin", descending=[True, False])
            )
            total, (origin, count) = rows.height, counts.row(0)
            if counts.height > 1 and total >= self.min_rows and count >= self.max_share * total:
                evidence = {"sources": dict(counts.head(SHOWN).iter_rows()), "share": round(count / total, 4)}
                message = f"{count:,} of {total:,} rows ({count / total:.2f}) are from {printable(origin)!r}"
                yield FileHit(int(str(source)), None, message, evidence, detail=origin)
