"""Which row of a group of duplicates stays: one vocabulary for every rule that keeps one row for others."""

from __future__ import annotations

from typing import Literal, Self

import polars as pl
from pydantic import Field, model_validator

from curate.dedup import Policy, policy_rank
from curate.metadata import field_numbers
from curate.repeats import with_repeats
from curate.rows import Corpus
from curate.rules.base import Rule
from curate.similar import Search, Similar, comparable_texts, similar_rows


class RepresentativeRule(Rule):
    """Base of rules that keep one row of a group; its subclasses set the default policy."""

    policy: Policy = "first"
    """Which row of a group stays: `first`, `longest` or `best` (by `best_by`); ties go to the first row."""
    best_by: str | None = None
    """Metadata field of the policy `best`: the highest number stays, rows without a number come last."""

    @model_validator(mode="after")
    def _best_has_its_field(self) -> Self:
        if (self.policy == "best") != (self.best_by is not None):
            raise ValueError("`policy: best` and `best_by: FIELD` need each other")
        return self

    def ranked(self, corpus: Corpus) -> pl.DataFrame:
        """`index`, `rank` of every row: of a group, the lowest rank stays. Ranks are distinct.

        Raises:
            UserError: no row has a number in the field `best_by`.
        """
        rows = corpus.rows.select("index")
        if self.policy == "first":
            return rows.with_columns(rank=pl.col("index").cast(pl.Int64))
        texts = comparable_texts(corpus).select("index", pl.concat_str("text", "rejected", ignore_nulls=True))
        text = rows.join(texts, on="index", how="left", maintain_order="left")["text"]
        priority = None
        if self.best_by is not None:
            priority = field_numbers(corpus, self.best_by, f"rule {self.name}: best_by")
        return rows.with_columns(rank=pl.Series(policy_rank(text, self.policy, priority)))

    def twins(self, groups: pl.DataFrame, corpus: Corpus) -> pl.DataFrame:
        """`index`, `twin` of each row that is not the representative of its group.

        Args:
            groups: `index`, `group`.
            corpus: what the indexes belong to.
        """
        several = with_repeats(groups, "group")
        if self.policy == "first":
            chosen = several.with_columns(rank="index")
        else:
            chosen = several.join(self.ranked(corpus), on="index", how="left", maintain_order="left")
        chosen = chosen.with_columns(twin=pl.col("index").sort_by("rank").first().over("group"))
        return chosen.filter(pl.col("index") != pl.col("twin")).select("index", "twin")


class SimilarityRule(RepresentativeRule):
    """Base of rules that rest on the search for near-duplicates, so that equal options share one search."""

    threshold: float | None = Field(default=None, gt=0.0, le=1.0)
    """Similarity at or above which a row counts as a near-duplicate; null for the setting's own, 0.7 or (fast) 0.8."""
    setting: Literal["default", "fast"] = "default"
    """`default` aligns the words of two rows; `fast` compares their sets of five neighbouring words."""
    policy: Policy = "longest"
    """Which row of a group stays: `first`, `longest` or `best` (by `best_by`); ties go to the first row."""

    def similar(self, corpus: Corpus) -> Similar:
        """The verified pairs, and the rows that a row that stays stands for."""
        return similar_rows(corpus, Search(self.threshold, self.policy, self.best_by, self.setting))
