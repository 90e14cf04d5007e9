"""Which split each kept row goes to: by component of what is alike, by group, stratified by label."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from curate.keys import row_keys
from curate.metadata import field_values
from curate.repeats import with_repeats
from curate.rows import Corpus
from curate.similar import comparable_texts
from curate.spill import in_parts
from curate.split import SPLITS, assign_splits, leak_free_splits
from curate.time_split import account, assign_by_time, cuts_by_share, given_cuts, parsed, times_of
from schemas.config import SplitConfig

if TYPE_CHECKING:
    from numpy.typing import NDArray

PROOF_SCHEMA = "assay/split-proof/1"
PROOF_THRESHOLD = 0.7
MAX_SHARE = 0.05
LABEL_CHARS = 32


@dataclass(frozen=True)
class Splits:
    """The kept rows' splits and why they are so."""

    rows: pl.DataFrame
    """`index`, `split`, `component`, `threshold` (where raised), `group`, `label`, `time`, in reading order."""
    proof: dict[str, Any]


def split_rows(whole: Corpus, kept: Corpus, config: SplitConfig, group_by: str | None) -> Splits:
    """Assign every kept row to a split.

    Args:
        whole: all readable rows as they would be written, the dropped ones included: they carry similarity between rows
            that stay.
        kept: the rows that stay.
        config: shares, label, seed, threshold, time.
        group_by: metadata field whose values never straddle splits.

    Raises:
        UserError: a field named for groups or labels occurs in no row; one named for time is missing in some.
    """
    times = times_of(kept, config.time_by) if config.time_by else None
    groups = field_values(kept, group_by, "data.group_by") if group_by else None
    labels = labels_of(kept, config.stratify_by)
    parts = components(whole, config.threshold, kept.rows["index"], groups)
    rows = _of_rows(kept, parts.rows).with_columns(
        component=pl.coalesce("component", pl.col("index").cast(pl.Int64)),
        label=labels,
        group=groups if groups is not None else pl.lit(None, pl.String),
        time=times if times is not None else pl.lit(None, pl.String),
    )
    rows = kept.stored(rows)
    fractions = {name: getattr(config, name) for name in SPLITS}
    if times is not None:
        moments = parsed(times)
        cuts = given_cuts(config, times) or cuts_by_share(rows["component"], groups, moments, fractions)
        assign = partial(assign_by_time, groups=groups, times=moments, cuts=cuts)
    else:
        named = labels if labels.null_count() < labels.len() else None
        keys = published_ids(kept)
        assign = partial(assign_splits, groups=groups, labels=named, fractions=fractions, seed=config.seed, keys=keys)
        assign = partial(assign, spill=kept.spill)
    splits, proof = leak_free_splits(
        _of_rows(kept, comparable_texts(kept).select("index", "text"))["text"],
        rows["component"],
        assign,
        threshold=PROOF_THRESHOLD,
        thresholds=rows["threshold"],
        spill=kept.spill,
    )
    about = {
        "schema": PROOF_SCHEMA,
        "component_threshold": config.threshold,
        "components": rows["component"].n_unique(),
        "largest_component": _largest(rows.select("component")),
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
        "time": None if times is None else account(str(config.time_by), times, splits, cuts),
    }
    return Splits(kept.stored(rows.with_columns(split=splits)), about | proof)


def _of_rows(corpus: Corpus, about: pl.DataFrame) -> pl.DataFrame:
    """A frame with a line for some of the rows, ascending by `index`, as one with a line for every row in its order."""
    index = corpus.rows["index"]
    if about.height == index.len() and (about["index"] == index).all():
        return about
    known = about["index"].rechunk()

    def compute(part: Corpus) -> pl.DataFrame:
        wanted = part.rows.select("index")
        first, stop = known.search_sorted(wanted["index"][0]), known.search_sorted(wanted["index"][-1], "right")
        return wanted.join(about.slice(first, stop - first), on="index", how="left", maintain_order="left")

    return corpus.in_parts(compute)


def _largest(units: pl.DataFrame) -> int:
    """Rows of the largest of some units, in a frame with one column."""
    name = units.columns[0]
    return int(with_repeats(units, name).group_by(name).len()["len"].max() or min(1, units.height))  # type: ignore[arg-type]


def _straddling(units: pl.Series, splits: pl.Series) -> int:
    # A unit of one row is in one split.
    frame = with_repeats(pl.DataFrame({"unit": units, "split": splits}).drop_nulls(), "unit")
    return int((frame.group_by("unit").agg(pl.col("split").n_unique())["split"] > 1).sum())


def published_ids(corpus: Corpus) -> pl.Series:
    """The rows' ids, with a number behind each repetition, so that every row has a key of its own."""
    rows = corpus.rows.select("index", "row_id")
    repeated = with_repeats(rows, "row_id").with_columns(again=pl.int_range(pl.len()).over("row_id") + 1)
    numbered = repeated.filter(pl.col("again") > 1).select("index", key=pl.format("{}-{}", "row_id", "again"))
    if numbered.is_empty():
        return rows["row_id"]

    def compute(part: Corpus) -> pl.DataFrame:
        found = part.rows.select("index", "row_id").join(numbered, on="index", how="left", maintain_order="left")
        return found.select(row_id=pl.coalesce("key", "row_id"))

    return corpus.in_parts(compute)["row_id"]


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
    index = texts["index"].rechunk()
    found = find_duplicates(
        texts["text"], floor=threshold, answer=texts["answer"], progress=whole.searched, spill=whole.spill
    )
    label, cuts = similarity_components(found, threshold=threshold, max_share=MAX_SHARE)
    raised = pl.Series("threshold", [None], dtype=pl.Float64).new_from_index(0, texts.height)
    if cuts:
        uncut, _ = similarity_components(found, threshold=threshold, max_share=1.0)
        raised = uncut.replace_strict({cut["row"]: cut["threshold"] for cut in cuts}, default=None).cast(pl.Float64)
    del found
    prompts = with_repeats(row_keys(whole).select("index", "prompt").drop_nulls(), "prompt")
    asked = _numbered(prompts, index).with_columns(rows=pl.len().over("prompt")).filter(pl.col("rows") > 1)
    common = asked["rows"] > max(1, MAX_SHARE * texts.height)
    shared = asked.filter(common)["prompt"].n_unique()
    links = [_links(asked.filter(~common), "prompt")]
    if groups is not None:
        grouped = pl.DataFrame({"index": kept, "group": groups}).drop_nulls()
        links.append(_links(_numbered(grouped, index), "group"))
    joined = _joined(label.to_numpy(), np.concatenate(links))
    rows = pl.DataFrame({"index": index, "component": index.gather(joined).cast(pl.Int64), "threshold": raised})
    cuts = [cut | {"row": int(index[int(cut["row"])])} for cut in cuts]
    return Components(whole.stored(rows), cuts, asked["prompt"].n_unique() - shared, shared)


def _numbered(rows: pl.DataFrame, index: pl.Series) -> pl.DataFrame:
    """Rows that are in `index` (ascending), with `at`, where they are there."""
    if not len(index):
        return rows.clear().with_columns(at=pl.lit(0, pl.Int64))
    at = np.minimum(np.searchsorted(index.to_numpy(), rows["index"].to_numpy()), len(index) - 1)
    return rows.with_columns(at=pl.Series(at, dtype=pl.Int64)).filter(pl.col("index") == index.gather(at))


def _links(rows: pl.DataFrame, group: str) -> NDArray[np.int64]:
    """[p, 2]: `at` of the first row of each group with that of every row of it."""
    return rows.select(first=pl.col("at").first().over(group), at="at").to_numpy()


def _joined(label: NDArray[np.int64], links: NDArray[np.int64]) -> NDArray[np.int64]:
    """Labels of components (the smallest of their row numbers) once the components of linked rows are one."""
    from curate.dedup.clusters import components as connected

    return connected(label[links], len(label))[label]


def labels_of(corpus: Corpus, stratify_by: str | None) -> pl.Series:
    """The label of each row: a metadata field, or `answer` for the last answer; by default that where it is short.

    Raises:
        UserError: no row has the field.
    """
    if stratify_by not in (None, "answer"):
        return field_values(corpus, stratify_by, "curate.split.stratify_by").alias("label")

    def compute(part: pl.DataFrame) -> pl.DataFrame:
        label = pl.col("answer").str.strip_chars()
        short = stratify_by == "answer" or label.str.len_chars() <= LABEL_CHARS
        return part.select("index", label=pl.when(short).then(label))

    answers = row_keys(corpus).select("index", "answer")
    labels = in_parts(answers, pl.col("answer").str.len_bytes().fill_null(0), corpus.spill, compute)
    return _of_rows(corpus, labels)["label"]
