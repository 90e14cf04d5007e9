"""PRF902 near-equal-answers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import polars as pl
from pydantic import Field

from curate.preference import answer_pairs
from curate.rows import Corpus
from curate.rules.base import Example, Hit, Rule
from schemas.finding import Severity

LONG = (
    "The lamp stands on the table beside the window, where the cat sleeps in the afternoon, and it is switched on when "
    "the sun has gone down behind the hills and the children come home from the lake with wet hair and cold hands."
)


def _pair(chosen: str, rejected: str) -> Example:
    return Example(({"prompt": "Where is it?", "chosen": chosen, "rejected": rejected},))


class NearEqualAnswers(Rule):
    """A preference row whose answers are nearly the same.

    ## What it does
    Reports rows whose two answers share at least `share` of their words, each word as often as it comes, in answers of
    at least `min_words` words and of about the same length.

    ## Why
    Nearly equal answers give a weak signal, and DPO is known to lower the likelihood of both.

    ## Known problems
    One other number or one "not" may be all the difference between right and wrong: hence for information only. The
    order of the words does not count, and text without spaces is one word.

    ## Source
    Pal et al. 2024, arXiv:2402.13228, on pairs with a small edit distance.
    """

    code: ClassVar[str] = "PRF902"
    name: ClassVar[str] = "near-equal-answers"
    severity: ClassVar[Severity] = Severity.INFO
    help: ClassVar[str] = "look whether the difference is what is to be learnt; otherwise remove the row"
    fires: ClassVar[tuple[Example, ...]] = (
        _pair(LONG, LONG.replace("lamp", "light")),
        _pair(LONG, LONG + " Good night."),
    )
    silent: ClassVar[tuple[Example, ...]] = (
        _pair(LONG, LONG),
        _pair("On the left of it.", "On the right of it."),
        _pair(LONG, LONG[:100]),
        _pair(
            LONG, "It is somewhere else entirely, and nobody who looks for it there will ever find it again, I fear."
        ),
    )

    share: float = Field(default=0.95, gt=0.0, le=1.0)
    """Words in common, as a fraction of the words of the longer answer."""
    min_words: int = Field(default=20, ge=1)
    """Shorter answers are not compared."""

    def find(self, corpus: Corpus) -> Iterator[Hit]:
        """One hit for each such row."""
        pairs = answer_pairs(corpus).lazy().filter(pl.col("chosen_key") != pl.col("rejected_key"))
        # Answers of quite different length end here, before any is cut into words.
        sizes = [pl.col(name).str.len_bytes() for name in ("chosen", "rejected")]
        pairs = pairs.filter(pl.min_horizontal(sizes) >= self.share * self.share * pl.max_horizontal(sizes))
        words = pairs.select("index", pl.col("chosen", "rejected").str.extract_all(r"\S+"))
        counts = [pl.col(name).list.len() for name in ("chosen", "rejected")]
        words = words.with_columns(longer=pl.max_horizontal(counts)).filter(pl.min_horizontal(counts) >= self.min_words)
        counted = [
            words.select("index", word=name).explode("word").group_by("index", "word").agg(pl.len().alias(name))
            for name in ("chosen", "rejected")
        ]
        common = (
            counted[0]
            .join(counted[1], on=["index", "word"])
            .group_by("index")
            .agg(common=pl.min_horizontal("chosen", "rejected").sum())
            .join(words.select("index", "longer"), on="index")
            .with_columns(share=pl.col("common") / pl.col("longer"))
            .filter(pl.col("share") >= self.share)
            .sort("index")
        )
        for index, share in common.select("index", "share").collect().iter_rows():
            yield Hit(index, f"the two answers share {share:.2f} of their words", evidence={"share": round(share, 4)})
