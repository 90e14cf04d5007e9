"""Which split each kept row goes to: by component of what is alike, by group, stratified by label."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import polars as pl

from curate.metadata import field_values
from curate.rows import Corpus, row_keys
from curate.similar import comparable_texts
from curate.split import leak_free_splits
from schemas.config import SplitConfig

SPLITS = ("train", "validation", "test")
PROOF_SCHEMA = "assay/split-proof/1"
PROOF_THRESHOLD = 0.7
MAX_SHARE = 0.05
LABEL_CHARS = 32


@dataclass(frozen=True)
class Splits:
    """The kept rows' splits and why they are so."""

    rows: pl.DataFrame
    """`index`, `split`, `component`, `threshold` (where it had to be raised), `group`, `label`, in reading order."""
    proof: dict[str, Any]


def split_rows(whole: Corpus, kept: Corpus, config: SplitConfig, group_by: str | None) -> Splits:
    """Assign every kept row to a split.

    Args:
        whole: all readable rows as they would be written, the dropped ones included: they carry similarity between rows
            that stay.
        kept: the rows that stay.
        config: shares, label, seed, threshold.
        group_by: metadata field whose values never straddle splits.

    Raises:
        UserError: a field named for groups or labels occurs in no row.
    """
    groups = field_values(kept, group_by, "data.group_by") if group_by else None
    labels = labels_of(kept, config.stratify_by)
    parts = components(whole, config.threshold, kept.rows["index"], groups)
    rows = (
        kept.rows.select("index", "row_id")
        .join(parts.rows, on="index", how="left", maintain_order="left")
        .with_columns(component=pl.coalesce("component", pl.col("index").cast(pl.Int64)), label=labels)
        .with_columns(group=groups if groups is not None else pl.lit(None, pl.String))
    )
    texts = kept.rows.select("index").join(
        comparable_texts(kept).select("index", "text"), on="index", how="left", maintain_order="left"
    )
    fractions = {name: getattr(config, name) for name in SPLITS}
    splits, proof = leak_free_splits(
        texts["text"],
        rows["component"],
        fractions,
        config.seed,
        groups=groups,
        labels=labels if labels.null_count() < labels.len() else None,
        keys=distinct_keys(rows["row_id"]),
        threshold=PROOF_THRESHOLD,
        thresholds=rows["threshold"],
    )
    about = {
        "schema": PROOF_SCHEMA,
        "component_threshold": config.threshold,
        "components": rows["component"].n_unique(),
        "largest_component": rows.group_by("component").len()["len"].sort().last(),
        "cut_components": parts.cuts,
        "same_prompt_joined": parts.prompts_joined,
        "same_prompt_not_joined": parts.prompts_left,
        "group_by": group_by,
        "groups": 0 if groups is None else groups.drop_nulls().n_unique(),
        "rows_without_group": rows.height if groups is None else groups.null_count(),
        "groups_across_splits": _straddling(rows["group"], splits),
        "components_across_splits": _straddling(rows["component"], splits),
        "seed": config.seed,
        "fractions": fractions,
    }
    return Splits(rows.with_columns(split=splits).drop("row_id"), about | proof)


def _straddling(units: pl.Series, splits: pl.Series) -> int:
    frame = pl.DataFrame({"unit": units, "split": splits}).drop_nulls()
    return int((frame.group_by("unit").agg(pl.col("split").n_unique())["split"] > 1).sum())


def distinct_keys(row_ids: pl.Series) -> pl.Series:
    """The rows' ids, with a number behind each repetition, so that every row has a key of its own."""
    frame = pl.DataFrame({"row_id": row_ids}).with_columns(again=pl.int_range(pl.len()).over("row_id"))
    repeated = frame.with_row_index("row").filter(pl.col("again") > 0)
    numbered = repeated.select(pl.format("{}-{}", "row_id", pl.col("again") + 1))
    return frame["row_id"].scatter(repeated["row"], numbered.to_series()) if repeated.height else frame["row_id"]


@dataclass(frozen=True)
class Components:
    """Sets of rows that must stay together."""

    rows: pl.DataFrame
    """`index`, `component` (smallest row index of the set), `threshold` (where it had to be raised)."""
    cuts: list[dict[str, Any]]
    prompts_joined: int
    """Groups of rows with the same prompt that were joined."""
    prompts_left: int
    """Groups with the same prompt left as they are: more than 5% of the rows ask the same, so it is no question."""


def components(whole: Corpus, threshold: float, kept: pl.Series, groups: pl.Series | None) -> Components:
    """Components of the verified similarity graph, joined where rows have the same prompt or are of one group.

    Args:
        whole: all readable rows.
        threshold: similarity from which rows stay together.
        kept: indexes of the rows that stay.
        groups: the group of each of these, null where it has none.
    """
    from curate.dedup import find_duplicates, similarity_components

    texts = comparable_texts(whole)
    found = find_duplicates(texts["text"], floor=threshold, answer=texts["answer"], progress=whole.searched)
    label, cuts = similarity_components(found, threshold=threshold, max_share=MAX_SHARE)
    raised = pl.Series("threshold", [None] * texts.height, dtype=pl.Float64)
    if cuts:
        uncut, _ = similarity_components(found, threshold=threshold, max_share=1.0)
        raised = uncut.replace_strict({cut["row"]: cut["threshold"] for cut in cuts}, default=None).cast(pl.Float64)
    index = texts["index"]
    rows = pl.DataFrame({"index": index, "component": index.gather(label).cast(pl.Int64), "threshold": raised})
    prompts = row_keys(whole).select("index", "prompt").filter(pl.col("prompt") != "")
    asked = (
        rows.join(prompts, on="index")
        .group_by("prompt", maintain_order=True)
        .agg(rows=pl.len(), members=pl.col("component").unique().sort())
        .filter(pl.col("rows") > 1)
    )
    shared = asked["rows"] > max(1, MAX_SHARE * texts.height)
    together = asked.filter(~shared)["members"].to_list()
    if groups is not None:
        grouped = pl.DataFrame({"index": kept, "group": groups}).drop_nulls().join(rows, on="index")
        together += (
            grouped.group_by("group", maintain_order=True).agg(pl.col("component").unique())["component"].to_list()
        )
    joined = _join(rows["component"].unique().to_list(), together)
    cuts = [cut | {"row": int(index[int(cut["row"])])} for cut in cuts]
    return Components(
        rows.with_columns(pl.col("component").replace_strict(joined, return_dtype=pl.Int64)),
        cuts,
        int((~shared).sum()),
        int(shared.sum()),
    )


def _join(units: Iterable[int], groups: Iterable[Iterable[int]]) -> dict[int, int]:
    """Union of units that a group holds: unit -> smallest unit of its set."""
    parent = {unit: unit for unit in units}

    def root(unit: int) -> int:
        while parent[unit] != unit:
            parent[unit] = parent[parent[unit]]
            unit = parent[unit]
        return unit

    for group in groups:
        first, *others = map(root, group)
        for other in others:
            low, high = sorted((root(first), root(other)))
            parent[high] = low
    return {unit: root(unit) for unit in parent}


def labels_of(corpus: Corpus, stratify_by: str | None) -> pl.Series:
    """The label of each row: a metadata field, or `answer` for the last answer; by default that where it is short.

    Raises:
        UserError: no row has the field.
    """
    answers = (
        corpus.rows.select("index")
        .join(row_keys(corpus).select("index", "answer"), on="index", how="left", maintain_order="left")["answer"]
        .str.strip_chars()
        .alias("label")
    )
    if stratify_by == "answer":
        return answers
    if stratify_by is not None:
        return field_values(corpus, stratify_by, "curate.split.stratify_by").alias("label")
    short = (answers.str.len_chars() <= LABEL_CHARS).fill_null(False)
    return pl.DataFrame({"label": answers}).select(pl.when(short).then(pl.col("label")))["label"]
