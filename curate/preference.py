"""The two answers of preference rows, side by side."""

from __future__ import annotations

import polars as pl

from curate.dedup import normalised_hashes
from curate.rows import Corpus

BLANK = r"^[\s\u{200b}\u{2060}\u{feff}]*$"


def answer_pairs(corpus: Corpus) -> pl.DataFrame:
    """What each preference row sets against each other: `index`, `prompt`, `chosen`, `rejected`, and keys of these.

    `prompt`, `chosen` and `rejected` join the turns of each side; a side without turns is empty. `prompt_key`,
    `chosen_key` and `rejected_key` are equal where the texts are, but for case and white space. `chosen_role` and
    `rejected_role` are the roles of the first turn of each side, `rejected_end` that of the last.
    """

    def compute(part: Corpus) -> pl.DataFrame:
        rows = part.rows.filter(pl.col("kind") == "preference").select("index")
        turns = (
            part.turns.join(rows, on="index", how="semi", maintain_order="left") if rows.height else part.turns.clear()
        )
        # The rejected answer has the turn numbers of the chosen one; without a rejected turn, the last turn is chosen.
        rejected = pl.col("part") == "rejected"
        start = pl.coalesce(pl.col("turn").filter(rejected).min().over("index"), pl.col("turn").max().over("index"))
        said = pl.concat_str("content", "calls", separator="\n", ignore_nulls=True)
        turns = turns.with_columns(rejected=rejected, asked=~rejected & (pl.col("turn") < start), said=said)
        chosen, other = pl.col("said").filter(~pl.col("rejected") & ~pl.col("asked")), pl.col("said").filter("rejected")
        role = pl.col("role")
        pairs = turns.group_by("index", maintain_order=True).agg(
            prompt=pl.concat_str(role.fill_null(""), "said", separator="\x1f").filter("asked").str.join("\x1e"),
            chosen=chosen.str.join("\n"),
            rejected=other.str.join("\n"),
            chosen_role=role.filter(~pl.col("rejected") & ~pl.col("asked")).first(),
            rejected_role=role.filter("rejected").first(),
            rejected_end=role.filter("rejected").last(),
            rejected_turns=pl.col("rejected").sum(),
        )
        return pairs.with_columns(_key(pairs[name], f"{name}_key") for name in ("prompt", "chosen", "rejected"))

    return corpus.remembered("answer_pairs", lambda: corpus.in_parts(compute))


def _key(text: pl.Series, name: str) -> pl.Series:
    hashes = normalised_hashes(text.fill_null(""))
    return hashes.select(pl.format("{}.{}", "high", "low").alias(name)).to_series()
