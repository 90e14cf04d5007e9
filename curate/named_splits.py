"""Splits that rows or their files name, and which held-out rows the training split holds as well."""

from __future__ import annotations

import re
from pathlib import PurePath
from typing import Any

import polars as pl

from curate.keys import row_keys
from curate.rows import Corpus
from curate.similar import Search, similar_rows

SPLIT_WORDS = {
    "train": "train",
    "training": "train",
    "valid": "validation",
    "validation": "validation",
    "val": "validation",
    "dev": "validation",
    "test": "test",
    "testing": "test",
    "eval": "test",
    "evaluation": "test",
    "heldout": "test",
    "holdout": "test",
}
"""What a split is called -> which it is."""
NEEDS_SPLITS = "no rows of a training split and of another one: neither files nor the field `split` name them"
COMMON_SHARE, COMMON_ROWS = 0.01, 20
"""A prompt of more rows than these of the training split is the task's own wording, not a question."""


def split_of_path(path: str) -> str | None:
    """The split that a file's name says, or else the folder right above it; null for none and for more than one."""
    file = PurePath(path.replace("\\", "/"))
    words = re.findall(r"[a-z]+", file.name.partition(".")[0].lower())
    named = {SPLIT_WORDS[word] for word in words if word in SPLIT_WORDS}
    if named:
        return named.pop() if len(named) == 1 else None
    return SPLIT_WORDS.get(file.parent.name.lower())


def named_splits(corpus: Corpus) -> pl.DataFrame:
    """`index`, `split` of the rows whose split is named: by their metadata field `split`, or else by their file."""

    def compute() -> pl.DataFrame:
        by_file = [split_of_path(source.path) for source in corpus.sources]
        files = pl.DataFrame(
            {"source": range(len(by_file)), "file": by_file}, schema={"source": pl.UInt16, "file": pl.String}
        )
        named = corpus.rows.lazy().filter(pl.col("metadata").str.contains('"split":', literal=True))
        said = pl.col("metadata").str.json_path_match("$.split").str.strip_chars().str.to_lowercase()
        own = named.select("index", own=said.replace_strict(SPLIT_WORDS, default=None, return_dtype=pl.String))
        rows = corpus.rows.lazy().filter(pl.col("row_id").is_not_null()).select("index", "source")
        rows = rows.join(files.lazy(), on="source", how="left", maintain_order="left")
        rows = rows.join(own, on="index", how="left", maintain_order="left")
        split = pl.coalesce("own", "file")
        return rows.select("index", split=split).filter(pl.col("split").is_not_null()).collect()

    return corpus.remembered("named_splits", compute)


def has_splits(corpus: Corpus) -> bool:
    """Whether there are rows of a training split and held-out ones."""
    splits = named_splits(corpus)["split"]
    return "train" in splits and bool((splits != "train").any())


def shared_with_train(corpus: Corpus, keys: pl.DataFrame, common: int | None = None) -> pl.DataFrame:
    """Held-out rows whose key a training row has too: `index`, `split`, `twin` (the first such row), in reading order.

    Args:
        corpus: what the indexes belong to.
        keys: `index`, `key`; null keys match nothing.
        common: keys of more training rows than this match nothing.
    """
    keys = keys.join(named_splits(corpus), on="index", how="inner", maintain_order="left").drop_nulls("key")
    train = keys.filter(pl.col("split") == "train").group_by("key").agg(twin=pl.col("index").first(), rows=pl.len())
    if common is not None:
        train = train.filter(pl.col("rows") <= common)
    held = keys.filter(pl.col("split") != "train")
    return held.join(train, on="key", how="inner", maintain_order="left").select("index", "split", "twin").sort("index")


def copies_in_train(corpus: Corpus) -> pl.DataFrame:
    """Held-out rows that are copies of a training row up to case and white space, as `shared_with_train` gives them."""
    keys = row_keys(corpus).select("index", key="full")
    return corpus.remembered("copies_in_train", lambda: shared_with_train(corpus, keys))


def near_in_train(corpus: Corpus, search: Search) -> pl.DataFrame:
    """Held-out rows that are near-duplicates of a training row and no copies, as `linked_to_train` gives them."""

    def compute() -> pl.DataFrame:
        similar = similar_rows(corpus, search)
        ends: dict[str, Any] = {"a": "index", "b": "representative"}
        pairs = similar.pairs.filter(pl.col("kind") == "near").select("a", "b", "similarity")
        stood = similar.dropped.filter(pl.col("kind") == "near").select(**ends, similarity="similarity")
        pairs = pl.concat([pairs.cast({"a": pl.UInt32, "b": pl.UInt32}), stood.cast({"a": pl.UInt32, "b": pl.UInt32})])
        held = linked_to_train(corpus, pairs)
        return held.join(copies_in_train(corpus), on="index", how="anti", maintain_order="left")

    return corpus.remembered(("near_in_train", search), compute)


def variants_in_train(corpus: Corpus, search: Search) -> pl.DataFrame:
    """Held-out rows that share most of their text with a training row, as `linked_to_train` gives them.

    Near-duplicates and copies are left out, and pairs with the same prompt, which is another fault.
    """
    kinds = ["template", "other-answer", "similar"]
    pairs = similar_rows(corpus, search).pairs.filter(
        pl.col("kind").is_in(kinds) & (pl.col("similarity") >= search.effective_threshold)
    )
    prompts = row_keys(corpus).select("index", "prompt")
    both = pairs.select(pl.col("a", "b").cast(pl.UInt32), "similarity")
    both = both.join(prompts, left_on="a", right_on="index").join(prompts, left_on="b", right_on="index", suffix="_b")
    other = both.filter(pl.col("prompt").ne_missing(pl.col("prompt_b")) | pl.col("prompt").is_null())
    held = linked_to_train(corpus, other.select("a", "b", "similarity"))
    for told in (copies_in_train(corpus), near_in_train(corpus, search)):
        held = held.join(told, on="index", how="anti", maintain_order="left")
    return held


def linked_to_train(corpus: Corpus, pairs: pl.DataFrame) -> pl.DataFrame:
    """Held-out rows with their best training row: `index`, `split`, `twin`, `similarity`, by index.

    Args:
        corpus: what the indexes belong to.
        pairs: `a`, `b`, `similarity`. One row of each set of copies was compared, so a pair counts for every copy.
    """
    pairs = pl.concat([pairs, pairs.select(a="b", b="a", similarity="similarity")])
    keys = row_keys(corpus).select("index", "full")
    keyed = named_splits(corpus).join(keys, on="index", how="inner", maintain_order="left")
    train = keyed.filter(pl.col("split") == "train").group_by("full").agg(twin=pl.col("index").first())
    linked = (
        pairs.join(keys.select(a="index", full="full"), on="a")
        .join(keys.select(b="index", other="full"), on="b")
        .join(train.select("twin", other="full"), on="other")
        .sort("similarity", "twin", descending=[True, False])
        .unique("full", keep="first", maintain_order=True)
        .select("full", "twin", "similarity")
    )
    held = keyed.filter(pl.col("split") != "train").join(linked, on="full", how="inner")
    return held.select("index", "split", "twin", "similarity").sort("index")
