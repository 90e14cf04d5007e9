"""PRF903 length-bias."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from typing import ClassVar

import polars as pl
from pydantic import Field

from curate.preference import answer_pairs
from curate.rows import Corpus
from curate.rules.base import Action, Example, FileHit, Hit, Rule, Scope
from schemas.finding import Severity

Z = 1.959964
"""For intervals of 95%."""


def _pairs(longer: int, shorter: int) -> Example:
    texts = [("a long answer", "short")] * longer + [("short", "a long answer")] * shorter
    return Example(
        tuple({"prompt": f"{n}?", "chosen": f"{n} {a}", "rejected": f"{n} {b}"} for n, (a, b) in enumerate(texts))
    )


class LengthBias(Rule):
    """A file of pairs in which the longer answer is nearly always the chosen one, or the rejected one.

    ## What it does
    Counts, for each file, the pairs whose chosen answer has more characters; pairs of equal length do not count. A
    file is reported if the share is surely above `share`, or surely below 1 - `share`: the 95% interval decides.

    ## Why
    A model tuned on such pairs learns to write at length, which is easier than to write well.

    ## Known problems
    Better answers often are longer: between 0.55 and 0.65 is common in sets that people labelled.

    ## Source
    Singhal et al. 2023, arXiv:2310.03716; Park et al. 2024, arXiv:2403.19159. The interval is Wilson's.
    """

    code: ClassVar[str] = "PRF903"
    name: ClassVar[str] = "length-bias"
    severity: ClassVar[Severity] = Severity.WARNING
    scope: ClassVar[Scope] = Scope.FILE
    actions: ClassVar[tuple[Action, ...]] = (Action.KEEP,)
    help: ClassVar[str] = "add pairs whose shorter answer is better, or train with a loss that corrects for length"
    fires: ClassVar[tuple[Example, ...]] = (_pairs(48, 2), _pairs(2, 48))
    silent: ClassVar[tuple[Example, ...]] = (_pairs(30, 20), _pairs(9, 0), _pairs(37, 13))

    share: float = Field(default=0.7, gt=0.5, lt=1.0)
    """Share of pairs with the longer answer chosen, from which on a file is reported."""
    min_pairs: int = Field(default=30, ge=1)
    """Files with fewer pairs of different length are not judged."""

    def find(self, corpus: Corpus) -> Iterable[Hit]:
        """Nothing: it is the file that is biased, not a row."""
        return ()

    def find_in_files(self, corpus: Corpus) -> Iterator[FileHit]:
        """One hit for each biased file."""
        pairs = answer_pairs(corpus)
        sizes = pairs.select(
            "index", chosen=pl.col("chosen").str.len_chars(), rejected=pl.col("rejected").str.len_chars()
        )
        both = sizes.filter(
            (pl.col("chosen") > 0) & (pl.col("rejected") > 0) & (pl.col("chosen") != pl.col("rejected"))
        )
        files = (
            both.join(corpus.rows.select("index", "source"), on="index", how="left")
            .group_by("source")
            .agg(pairs=pl.len(), longer=(pl.col("chosen") > pl.col("rejected")).sum())
            .sort("source")
        )
        for source, count, longer in files.iter_rows():
            low, high = wilson(longer, count)
            if count < self.min_pairs or (low <= self.share and high >= 1 - self.share):
                continue
            size, number = ("longer", longer) if low > self.share else ("shorter", count - longer)
            low, high = (low, high) if size == "longer" else (1 - high, 1 - low)
            share = number / count
            message = f"the chosen answer is the {size} one in {share:.2f} of {count:,} pairs ({low:.2f} to {high:.2f})"
            evidence = {"pairs": count, "share": round(share, 4), "interval": [round(low, 4), round(high, 4)]}
            yield FileHit(source, None, message, evidence | {"chosen": size})


def wilson(hits: int, count: int) -> tuple[float, float]:
    """Ends of Wilson's 95% interval of a share."""
    share, z2 = hits / count, Z * Z
    centre = share + z2 / (2 * count)
    spread = Z * math.sqrt(share * (1 - share) / count + z2 / (4 * count * count))
    return (centre - spread) / (1 + z2 / count), (centre + spread) / (1 + z2 / count)
