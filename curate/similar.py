"""Similar rows of a corpus: what the duplicate rules and the splits share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import polars as pl

from curate.dedup import Policy, normalise
from curate.dedup.pairs import SETTINGS
from curate.metadata import field_numbers
from curate.rows import Corpus
from curate.spill import in_parts

TEXT_BYTES = pl.col("text").str.len_bytes()
COMMON_SHARE = 0.01
COMMON_ROWS = 20
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
    """What rows are compared by: `index`, `system`, `text`, `answer`, `rejected`; only rows that say something.

    `text` joins what is said, turn by turn. Instructions are a column of their own: many rows share one, and what all
    rows share says nothing about whether two of them are alike. `answer` is the last assistant turn, `rejected` what
    a preference row sets against it.
    """

    def compute(part: Corpus) -> pl.DataFrame:
        main = pl.col("part") != "rejected"
        instructs = pl.col("role").is_in(INSTRUCTIONS).fill_null(False)
        answers = main & pl.col("role").is_in(["assistant", "reference"])
        said = _said(part.turns)
        texts = (
            part.turns.with_columns(said=said)
            .group_by("index", maintain_order=True)
            .agg(
                system=pl.col("said").filter(main & instructs),
                text=pl.col("said").filter(main & ~instructs),
                answer=pl.col("position").filter(answers).last(),
                rejected=pl.col("position").filter(~main).last(),
            )
            .with_columns(pl.col("system", "text").list.join("\n"))
        )
        return texts.filter(pl.col("text").str.strip_chars() != "")

    def whole() -> pl.DataFrame:
        texts = replace(corpus, turns=corpus.turns.with_row_index("position"), memo={}).in_parts(compute)
        # Only texts of several turns are new: answers stay where they are.
        answer, rejected = (_said_at(corpus.turns, texts[name]) for name in ("answer", "rejected"))
        if corpus.spill is not None:
            corpus.spill.release()
        return texts.with_columns(answer=answer, rejected=rejected)

    return corpus.remembered("comparable_texts", whole)


def _said(turns: pl.DataFrame) -> pl.Series:
    """What each turn says, tool calls included."""
    if turns["calls"].null_count() == turns.height:
        return turns["content"].fill_null("") if turns["content"].null_count() else turns["content"]
    return turns.select(pl.concat_str("content", "calls", separator="\n", ignore_nulls=True))["content"]


def _said_at(turns: pl.DataFrame, positions: pl.Series) -> pl.Series:
    """What the turns at these positions say; null for a null."""
    said = _said(turns.select(pl.col("content", "calls").gather(positions)))
    missing = positions.is_null()
    return pl.select(pl.when(~missing).then(said)).to_series() if missing.any() else said


@dataclass(frozen=True)
class Search:
    """How similar rows are looked for; equal searches of one corpus are made once."""

    threshold: float | None = None
    """Similarity from which a pair is a near-duplicate; null for the setting's own."""
    policy: Policy = "longest"
    best_by: str | None = None
    """Metadata field for the policy `best`."""
    setting: str = "default"

    @property
    def effective_threshold(self) -> float:
        """The threshold given, or the setting's own."""
        return SETTINGS[self.setting].threshold if self.threshold is None else self.threshold


def similar_rows(corpus: Corpus, search: Search) -> Similar:
    """Duplicates among rows with the same instructions.

    Rows under different instructions are different tasks, and so are rows with different tools or labels beside the
    turns. Each instruction that is common (1% of the rows, at least 20) makes a group that is searched by itself,
    without the instruction's text; rows under rare instructions are searched together, with it. A preference row is
    compared with both its answers.

    Raises:
        UserError: no row has a number in the field `best_by`.
    """
    search = replace(search, threshold=search.effective_threshold)
    return corpus.remembered(("similar_rows", search), lambda: _grouped(corpus, search))


def _grouped(corpus: Corpus, search: Search) -> Similar:
    texts = comparable_texts(corpus)
    texts = texts.hstack(_keys(corpus, texts))
    common = max(COMMON_ROWS, int(texts.height * COMMON_SHARE))
    shared = texts["key"].value_counts().filter((pl.col("count") >= common) | (pl.col("key") == ""))["key"]
    rare = ~pl.col("key").is_in(shared.implode())
    if texts.select(rare.any()).item() or texts["rejected"].null_count() < texts.height:
        texts = in_parts(texts, TEXT_BYTES, corpus.spill, lambda part: _with_context(part.with_columns(rare=rare)))
    if search.best_by is not None:
        priority = field_numbers(corpus, search.best_by, f"best_by: {search.best_by}")
        about = pl.DataFrame({"index": corpus.rows["index"], "priority": priority})
        texts = texts.join(about, on="index", how="left", maintain_order="left")
    keys = texts["key"].unique(maintain_order=True)
    parts = [
        _search(texts if len(keys) == 1 else texts.filter(pl.col("key") == key), search, corpus.searched)
        for key in keys
    ]
    if not parts:
        empty = {"a": pl.UInt32, "b": pl.UInt32, "kind": pl.String, "measure": pl.String, "similarity": pl.Float64}
        gone = {"index": pl.UInt32, "representative": pl.UInt32} | {name: empty[name] for name in list(empty)[2:]}
        return Similar(pl.DataFrame(schema=empty), pl.DataFrame(schema=gone), [])
    return Similar(
        pl.concat([part.pairs for part in parts]).sort("a", "b"),
        pl.concat([part.dropped for part in parts]).sort("index"),
        [parameters for part in parts for parameters in part.parameters],
    )


def _keys(corpus: Corpus, texts: pl.DataFrame) -> pl.DataFrame:
    """`beside` of each text's row, and `key`: rows with other instructions or something else beside have another."""
    rows, all_beside = corpus.rows["index"].to_numpy(), corpus.rows["beside"]

    def compute(part: pl.DataFrame) -> pl.DataFrame:
        places = np.searchsorted(rows, part["index"].to_numpy())
        first, stop = (int(places[0]), int(places[-1]) + 1) if len(places) else (0, 0)
        beside = all_beside.slice(first, stop - first).gather(places - first).fill_null("")
        return pl.DataFrame({"beside": beside, "key": normalise(part["system"])}).with_columns(
            key=pl.concat_str("key", "beside")
        )

    return in_parts(texts.select("index", "system"), pl.col("system").str.len_bytes() + 64, corpus.spill, compute)


def _with_context(texts: pl.DataFrame) -> pl.DataFrame:
    """A preference row is compared with its rejected answer, a row under a rare instruction with that."""
    said = pl.concat_str("text", "rejected", separator="\n", ignore_nulls=True)
    return texts.with_columns(
        text=pl.when("rare").then(pl.concat_str("system", said, separator="\n")).otherwise(said),
        answer=pl.concat_str("answer", "rejected", separator="\n", ignore_nulls=True),
        key=pl.when("rare").then(pl.lit("\x00")).otherwise(pl.col("key")),
    )


def _search(texts: pl.DataFrame, search: Search, progress: Callable[[str, int, int], None]) -> Similar:
    from curate.dedup import find_duplicates

    index, beside = texts["index"], texts["beside"]
    found = find_duplicates(
        texts["text"],
        threshold=search.threshold,
        policy=search.policy,
        priority=texts["priority"] if search.best_by is not None else None,
        answer=texts["answer"],
        setting=search.setting,
        progress=progress,
    )
    pairs = found.pairs.with_columns(a=index.gather(found.pairs["a"]), b=index.gather(found.pairs["b"]))
    rows = found.representative.is_not_null().arg_true()
    dropped = pl.DataFrame(
        {"representative": found.representative, "kind": found.kind, "similarity": found.similarity}
    )[rows]
    # Rare instructions are searched together: there, what stands beside the turns may still differ.
    same = beside.gather(rows) == beside.gather(dropped["representative"])
    dropped = dropped.with_columns(index=index.gather(rows)).filter(same)
    by_hash = pl.col("kind").is_in(["exact", "normalised"])
    dropped = dropped.select(
        "index",
        representative=index.gather(dropped["representative"]),
        kind="kind",
        measure=pl.when(by_hash).then(pl.lit("hash-128")).otherwise(pl.lit(MEASURES[search.setting])),
        similarity="similarity",
    )
    return Similar(pairs, dropped, [dict(found.parameters)])
