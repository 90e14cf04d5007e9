"""Similar rows of a corpus: what the duplicate rules and the splits share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

from curate.dedup import normalise
from curate.rows import Corpus

COMMON_SHARE = 0.01
COMMON_ROWS = 20
Policy = Literal["longest", "first"]
"""Which row of a group of duplicates stays."""
INSTRUCTIONS = ("system", "developer")
MEASURES = {"default": "alignment", "fast": "jaccard-5"}
"""What the similarity of a near-duplicate is, by setting of the search."""


@dataclass(frozen=True)
class Similar:
    """Verified pairs and what follows from them, in row indexes of the corpus."""

    pairs: pl.DataFrame
    """`a` < `b`, `kind`, `measure`, `similarity`."""
    dropped: pl.DataFrame
    """`index`, `representative`, `kind`, `measure`, `similarity`: rows that a kept row stands for."""
    parameters: list[dict[str, Any]]
    """One for each group of rows that was searched by itself."""


def comparable_texts(corpus: Corpus) -> pl.DataFrame:
    """What rows are compared by: `index`, `system`, `text`, `answer`; only rows that say something.

    `text` joins what is said, turn by turn. Instructions are a column of their own: many rows share one, and what all
    rows share says nothing about whether two of them are alike. `answer` is the last assistant turn.
    """

    def compute() -> pl.DataFrame:
        main = corpus.turns.filter(pl.col("part") != "rejected").with_columns(
            said=pl.concat_str(pl.col("content"), pl.col("calls"), separator="\n", ignore_nulls=True),
            instructs=pl.col("role").is_in(INSTRUCTIONS).fill_null(False),
        )
        texts = main.group_by("index", maintain_order=True).agg(
            system=pl.col("said").filter(pl.col("instructs")).str.join("\n"),
            text=pl.col("said").filter(~pl.col("instructs")).str.join("\n"),
            answer=pl.col("said").filter(pl.col("role") == "assistant").last(),
        )
        return texts.filter(pl.col("text").str.strip_chars() != "")

    return corpus.remembered("comparable_texts", compute)


def similar_rows(
    corpus: Corpus, *, threshold: float | None, policy: Policy = "longest", setting: str = "default"
) -> Similar:
    """Duplicates among rows with the same instructions.

    Rows under different instructions are different tasks. Each instruction that is common (1% of the rows, at least 20)
    makes a group that is searched by itself, without the instruction's text; rows under rare instructions are searched
    together, with it.
    """
    return corpus.remembered(
        ("similar_rows", threshold, policy, setting), lambda: _grouped(corpus, threshold, policy, setting)
    )


def _grouped(corpus: Corpus, threshold: float | None, policy: Policy, setting: str) -> Similar:
    texts = comparable_texts(corpus)
    texts = texts.with_columns(key=normalise(texts["system"]))
    common = max(COMMON_ROWS, int(texts.height * COMMON_SHARE))
    rare = (pl.len().over("key") < common) & (pl.col("key") != "")
    texts = texts.with_columns(
        text=pl.when(rare).then(pl.concat_str("system", "text", separator="\n")).otherwise(pl.col("text")),
        key=pl.when(rare).then(pl.lit("\x00")).otherwise(pl.col("key")),
    )
    groups = texts.partition_by("key", maintain_order=True)
    parts = [_search(part, threshold, policy, setting, corpus.searched) for part in groups]
    if not parts:
        empty = {"a": pl.UInt32, "b": pl.UInt32, "kind": pl.String, "measure": pl.String, "similarity": pl.Float64}
        gone = {"index": pl.UInt32, "representative": pl.UInt32} | {name: empty[name] for name in list(empty)[2:]}
        return Similar(pl.DataFrame(schema=empty), pl.DataFrame(schema=gone), [])
    return Similar(
        pl.concat([part.pairs for part in parts]).sort("a", "b"),
        pl.concat([part.dropped for part in parts]).sort("index"),
        [parameters for part in parts for parameters in part.parameters],
    )


def _search(
    texts: pl.DataFrame,
    threshold: float | None,
    policy: Policy,
    setting: str,
    progress: Callable[[str, int, int], None],
) -> Similar:
    from curate.dedup import find_duplicates

    index = texts["index"]
    found = find_duplicates(
        texts["text"],
        threshold=threshold,
        policy=policy,
        answer=texts["answer"],
        setting=setting,
        progress=progress,
    )
    pairs = found.pairs.with_columns(a=index.gather(found.pairs["a"]), b=index.gather(found.pairs["b"]))
    dropped = pl.DataFrame(
        {"index": index, "representative": found.representative, "kind": found.kind, "similarity": found.similarity}
    ).filter(pl.col("representative").is_not_null())
    by_hash = pl.col("kind").is_in(["exact", "normalised"])
    dropped = dropped.select(
        "index",
        representative=index.gather(dropped["representative"]),
        kind="kind",
        measure=pl.when(by_hash).then(pl.lit("hash-128")).otherwise(pl.lit(MEASURES[setting])),
        similarity="similarity",
    )
    return Similar(pairs, dropped, [dict(found.parameters)])
