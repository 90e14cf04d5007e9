"""Scanning rows for eval items: which turn holds how much of which item, by several measures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.contamination.index import CHOICE, QUESTION, EvalIndex
from curate.contamination.words import comparable
from curate.dedup.spans import Spans, string_spans
from curate.rows import Corpus

BATCH_BYTES = 1 << 22
COMMON_SHARE, COMMON_ROWS = 0.01, 20
"""A run in more of the rows than this share, and this number, is the data's own wording."""
LEAST_TELLING = 8
"""An item of which the data's own wording leaves fewer words than this is compared as a whole only."""
LEAST = 0.3
"""Share of a segment below which a match is not looked at further."""
MATCHES_SCHEMA = {
    "text": pl.Int64,
    "seg": pl.Int32,
    "exact": pl.Float64,
    "masked": pl.Float64,
    "coverage": pl.Float64,
    "longest": pl.Int32,
    "gap": pl.Int32,
    "hole": pl.Int32,
    "edge": pl.Int32,
    "missing": pl.Int32,
    "changed": pl.Int32,
    "start": pl.Int32,
    "stop": pl.Int32,
    "telling": pl.Int32,
    "overlap": pl.Float64,
}
WHOLE_SCHEMA = {"text": pl.Int64, "item": pl.Int32, "within": pl.Boolean, "start": pl.Int32, "stop": pl.Int32}


@dataclass(frozen=True)
class Scan:
    """What was found."""

    texts: pl.DataFrame
    """`text` (number), `index`, `turn`, `role`, of every turn that was scanned."""
    matches: pl.DataFrame
    """Columns of MATCHES_SCHEMA: how much of a segment a turn holds, by several measures, all in [0, 1] or words.

    `exact`: share of the segment's words, weighted by rarity, that stand in the turn in their order; `masked`: the same
    with any number for any other; `coverage`: unweighted, as Tulu 3 has it; `overlap`: rarity-weighted share of
    distinct runs, as decon has it; `longest`: words of the longest match, as ConTAM has it; `gap`: most words in a row
    that are not there; `hole`: most that are not there among eight; `edge`: most at the beginning or the end of the
    segment; `missing`: how many are not there; `changed`: words with digits that differ; `start`, `stop`: first and
    last word of the turn; `telling`: words of the segment that have any weight.
    """
    whole: pl.DataFrame
    """Columns of WHOLE_SCHEMA: turns that are a whole question, or a line or sentence of which is; with `within`, one
    begins or ends with it."""
    own_wording: NDArray[np.bool_]
    """For each item, whether only its whole question could be compared: the rest of it is the data's own wording."""
    words: int


def scan_rows(corpus: Corpus, index: EvalIndex, threads: int | None = None) -> Scan:
    """Look for the items of an index in every turn of every row.

    Args:
        corpus: rows of any kind.
        index: of `build_index`.
        threads: null takes one a core; the result does not depend on it.
    """
    turns, texts = _texts(corpus)
    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        found = _looked(turns, index, pool)
        hits = _hits(found)
        whole = pl.concat([pl.DataFrame(schema=WHOLE_SCHEMA), *(whole for _, whole, _ in found)])
        known = None if corpus.shard is None else corpus.shard.common_runs
        dropped = too_common(_rows_by_run(hits, texts, index), corpus.height) if known is None else known
        pairs = _promising(_pairs(hits, index, dropped), index)
        lost = index.lost(dropped)
        wanted = np.zeros(len(index.seg_item), np.bool_)
        wanted[pairs["seg"].unique().to_numpy()] = True
        weights = index.weights(lost, wanted)

        def score(part: pl.DataFrame) -> pl.DataFrame:
            return _scored(part, corpus.turns["content"].gather(part["text"].unique().sort()), index, weights)

        matches = list(pool.map(score, _by_texts(pairs, corpus.turns["content"])))
    measured = pl.concat([pl.DataFrame(schema=_MEASURED), *matches])
    measured = measured.join(
        _overlap(pairs, index, dropped, wanted), on=["text", "seg"], how="left", maintain_order="left"
    )
    whole = whole.sort("text", "item", "within", "start").unique(["text", "item"], keep="first", maintain_order=True)
    return Scan(texts, measured, whole, own_wording(index, lost), sum(words for *_, words in found))


def rows_by_run(corpus: Corpus, index: EvalIndex) -> NDArray[np.int64]:
    """For each run of an index, how many rows hold it: the numbers of shards add up to those of all rows."""
    turns, texts = _texts(corpus)
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        return _rows_by_run(_hits(_looked(turns, index, pool)), texts, index)


def too_common(rows_by_run: NDArray[np.int64], rows: int) -> NDArray[np.bool_]:
    """For each run, whether the training data uses it everywhere.

    Args:
        rows_by_run: of `rows_by_run`, over all rows.
        rows: how many rows there are.
    """
    return rows_by_run > max(COMMON_ROWS, int(rows * COMMON_SHARE))


def _texts(corpus: Corpus) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The turns that say something, numbered, and what `Scan.texts` holds of them."""
    turns = corpus.turns.with_row_index("text").filter(pl.col("content").is_not_null())
    return turns, turns.select(pl.col("text").cast(pl.Int64), "index", "turn", "role")


def _looked(
    turns: pl.DataFrame, index: EvalIndex, pool: ThreadPoolExecutor
) -> list[tuple[pl.DataFrame, pl.DataFrame, int]]:
    """`_look` at all turns, part by part."""

    def look(part: tuple[int, int]) -> tuple[pl.DataFrame, pl.DataFrame, int]:
        piece = turns.slice(*part)
        return _look(piece["content"], piece["text"].to_numpy().astype(np.int64), index)

    return list(pool.map(look, _slices(turns["content"].str.len_bytes())))


def _hits(found: list[tuple[pl.DataFrame, pl.DataFrame, int]]) -> pl.DataFrame:
    return pl.concat([_NO_HITS, *(hits for hits, _, _ in found)])


_NO_HITS = pl.DataFrame(schema={"text": pl.Int64, "place": pl.Int32, "gram": pl.Int32})
_MEASURED = {name: kind for name, kind in MATCHES_SCHEMA.items() if name != "overlap"}


def _slices(sizes: pl.Series) -> Iterator[tuple[int, int]]:
    """(first, number) of consecutive texts of about BATCH_BYTES."""
    if not len(sizes):
        return
    part = sizes.cast(pl.Int64).cum_sum() // BATCH_BYTES
    start = 0
    for length in part.rle().struct.field("len"):
        yield start, length
        start += length


def _room(spans: Spans) -> tuple[NDArray[Any], ...]:
    """Room for the words of the longest text."""
    size = (int(spans.lengths.max()) + 1) // 2 + 2 if len(spans) else 2
    return np.empty(size, np.uint64), np.empty(size, np.uint8), np.empty(size, np.uint8)


def _look(content: pl.Series, numbers: NDArray[np.int64], index: EvalIndex) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Hits of runs, whole questions, and the words of some turns."""
    from curate.contamination.kernel import scan_texts

    spans = string_spans(comparable(content))
    tables = index.run_table, index.whole_table
    longest = int(index.items["words"].max() or 0)  # type: ignore[arg-type]
    sizes = [1 << 14, 1 << 10]
    while True:
        runs, wholes = ([np.empty(size, np.int32) for _ in range(n)] for size, n in zip(sizes, (3, 5), strict=True))
        how = index.width, index.key_array, tables, longest, _room(spans)
        *found, words = scan_texts(spans.addresses, spans.lengths, *how, tuple(runs), tuple(wholes))
        if found[0] <= sizes[0] and found[1] <= sizes[1]:
            break
        sizes = [max(size, number) for size, number in zip(sizes, found, strict=True)]
    text, place, gram = (column[: found[0]] for column in runs)
    hits = pl.DataFrame({"text": numbers[text], "place": place, "gram": gram}, schema=_NO_HITS.schema)
    text, start, whole, kind, stop = (column[: found[1]] for column in wholes)
    _, owners, begin = index.wholes
    chosen, owner = _spread(begin, whole.astype(np.int64))
    table = {
        "text": numbers[text[owner]], "item": owners[chosen], "within": kind[owner] != 0, "start": start[owner],
        "stop": stop[owner] - 1,
    }  # fmt: skip
    return hits, pl.DataFrame(table, schema=WHOLE_SCHEMA), words


def _spread(begin: NDArray[Any], chosen: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Every entry of some groups, and for each the number of the one that chose its group.

    Args:
        begin: where the entries of each group begin, and the end.
        chosen: groups.
    """
    counts = (begin[chosen + 1] - begin[chosen]).astype(np.int64)
    owner = np.repeat(np.arange(len(chosen)), counts)
    step = np.arange(len(owner)) - np.repeat(np.cumsum(counts) - counts, counts)
    return begin[chosen][owner] + step, owner


def _rows_by_run(hits: pl.DataFrame, texts: pl.DataFrame, index: EvalIndex) -> NDArray[np.int64]:
    held = (
        hits.lazy()
        .select("text", "gram")
        .join(texts.lazy().select("text", "index"), on="text")
        .unique(["gram", "index"])
        .group_by("gram")
        .len()
        .collect()
    )
    counts = np.zeros(len(index.grams), np.int64)
    counts[held["gram"].to_numpy()] = held["len"].to_numpy()
    return counts


def own_wording(index: EvalIndex, lost: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """For each item, whether common wording leaves too little of its question to compare anything but the whole.

    Args:
        index: that is searched with.
        lost: of `EvalIndex.lost`.
    """
    counted = np.concatenate([np.zeros(1, np.int64), np.cumsum(~lost)])
    telling = counted[index.seg_begin[1:]] - counted[index.seg_begin[:-1]]
    few = (index.seg_kind == QUESTION) & (telling < LEAST_TELLING) & (telling < index.sizes)
    found = np.zeros(index.items.height, np.bool_)
    found[index.seg_item[few]] = True
    return found


def _pairs(hits: pl.DataFrame, index: EvalIndex, dropped: NDArray[np.bool_]) -> pl.DataFrame:
    """Every hit with every place of an item at which its run stands, sorted by turn, segment and place."""
    kept = hits.filter(~pl.Series(dropped[hits["gram"].to_numpy()], dtype=pl.Boolean)) if hits.height else hits
    gram = kept["gram"].to_numpy().astype(np.int64)
    post, owner = _spread(index.post_begin, gram)
    return pl.DataFrame(
        {
            "text": kept["text"].to_numpy()[owner],
            "seg": index.post_seg[post],
            "place": kept["place"].to_numpy()[owner],
            "at": index.post_place[post],
            "masked": index.post_masked[post],
            "gram": gram[owner],
        }
    ).sort("text", "seg", "place", "at", "masked")


def _promising(pairs: pl.DataFrame, index: EvalIndex) -> pl.DataFrame:
    """Pairs of a turn and a segment with enough distinct runs to reach LEAST of its words that count."""
    sizes = pl.Series(index.sizes[pairs["seg"].to_numpy()])
    enough = (pl.col("at").n_unique().over("text", "seg") + index.width - 1) >= LEAST * sizes
    return pairs.filter(enough)


def _by_texts(pairs: pl.DataFrame, content: pl.Series) -> Iterator[pl.DataFrame]:
    """The pairs of consecutive turns of about BATCH_BYTES."""
    texts = pairs["text"].unique().sort()
    for start, count in _slices(content.gather(texts).str.len_bytes()):
        first = pairs["text"].search_sorted(texts[start], "left")
        last = pairs["text"].search_sorted(texts[start + count - 1], "right")
        yield pairs.slice(first, last - first)


def _scored(pairs: pl.DataFrame, content: pl.Series, index: EvalIndex, weights: NDArray[np.float32]) -> pl.DataFrame:
    """Every (turn, segment) with at least LEAST of it, by all measures but `overlap`.

    Args:
        pairs: of some turns.
        content: of these turns, in their order.
        index: whose segments the pairs name.
        weights: of all positions.
    """
    from curate.contamination.scoring import score_groups

    lengths = pairs.select("text", "seg").to_struct("pair").rle().struct.field("len").to_numpy()
    group = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=group[1:])
    spans = string_spans(comparable(content))
    out = np.zeros((len(lengths), 12))
    columns = [pairs[name].to_numpy() for name in ("place", "at", "masked", "seg")]
    columns.append(pairs["text"].rank("dense").to_numpy().astype(np.int64) - 1)
    segments = index.seg_begin, index.seg_hash, index.numbers, index.prints, weights
    texts = spans.addresses, spans.lengths
    score_groups(group, tuple(columns), texts, segments, index.key_array, index.width, _room(spans), out)
    names = [name for name in _MEASURED if name not in ("text", "seg")]
    scores = [pl.Series(name, out[:, at]).cast(_MEASURED[name]) for at, name in enumerate(names)]
    measured = pairs[group[:-1]].select("text", "seg").with_columns(scores)
    return measured.filter(pl.max_horizontal("exact", "masked") >= LEAST)


def _overlap(
    pairs: pl.DataFrame, index: EvalIndex, dropped: NDArray[np.bool_], wanted: NDArray[np.bool_]
) -> pl.DataFrame:
    """Rarity-weighted share of a segment's distinct unmasked runs that a turn holds."""
    postings, gram = index.runs_of(wanted)
    postings, gram = postings[~dropped[gram]], gram[~dropped[gram]]
    idf = index.idf
    every = pl.DataFrame({"seg": index.post_seg[postings], "gram": gram, "idf": idf[gram]}).unique(["seg", "gram"])
    total = every.group_by("seg").agg(total=pl.col("idf").sum())
    held = pairs.filter(pl.col("masked") == 0).select("text", "seg", "gram").unique()
    held = held.with_columns(idf=idf[held["gram"].to_numpy()])
    return (
        held.group_by("text", "seg")
        .agg(held=pl.col("idf").sum())
        .join(total, on="seg", how="left")
        .select("text", "seg", overlap=(pl.col("held") / pl.col("total")).cast(pl.Float64))
    )


def best_matches(scan: Scan, index: EvalIndex, kind: int) -> pl.DataFrame:
    """The best match of each turn with a segment of this kind of each item: MATCHES_SCHEMA, `item`, `words`."""
    seg = scan.matches["seg"].to_numpy()
    of_kind = scan.matches.with_columns(item=index.seg_item[seg]).filter(pl.Series(index.seg_kind[seg] == kind))
    of_kind = of_kind.with_columns(words=pl.Series(index.sizes).gather(of_kind["seg"]).cast(pl.Int32))
    best = of_kind.sort("exact", "masked", "text", "seg", descending=[True, True, False, False])
    return best.unique(["text", "item"], keep="first", maintain_order=True)


def choice_shares(scan: Scan, index: EvalIndex) -> pl.DataFrame:
    """`text`, `item`, `share`: of the question and the choices of an item together, by words."""
    sizes = index.sizes
    asked = (index.seg_kind == QUESTION) | (index.seg_kind == CHOICE)
    long = asked & (sizes >= index.width)
    total = np.zeros(index.items.height)
    np.add.at(total, index.seg_item[long], sizes[long])
    has_choices = np.zeros(index.items.height, np.bool_)
    has_choices[index.seg_item[long & (index.seg_kind == CHOICE)]] = True
    seg = scan.matches["seg"].to_numpy()
    found = scan.matches.with_columns(
        item=index.seg_item[seg], size=sizes[seg], counts=asked[seg] & has_choices[index.seg_item[seg]]
    ).filter("counts")
    held = found.group_by("text", "item").agg(
        held=(pl.col("coverage") * pl.col("size")).sum(), start=pl.col("start").min(), stop=pl.col("stop").max()
    )
    shares = held["held"].to_numpy() / total[held["item"].to_numpy()]
    return held.drop("held").with_columns(share=pl.Series(shares, dtype=pl.Float64))
