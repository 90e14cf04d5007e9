"""Scanning rows for eval items: which turn holds how much of which item, by several measures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.contamination.index import ANSWER, CHOICE, QUESTION, EvalIndex
from curate.contamination.words import comparable
from curate.dedup.spans import string_spans
from curate.rows import Corpus

BATCH_BYTES = 1 << 22
COMMON_SHARE, COMMON_ROWS = 0.01, 20
"""A run in more of the rows than this share, and this number, is the data's own wording."""
OWN_WORDING = 0.5
"""An item of which the data's own wording makes up more than this is compared as a whole only."""
LEAST = 0.3
"""Share of a segment below which a match is not looked at further."""
VERBATIM = 0.97
WHOLE = -1
MATCHES_SCHEMA = {
    "text": pl.Int64,
    "seg": pl.Int32,
    "exact": pl.Float64,
    "masked": pl.Float64,
    "coverage": pl.Float64,
    "longest": pl.Int32,
    "gap": pl.Int32,
    "changed": pl.Int32,
    "start": pl.Int32,
    "stop": pl.Int32,
    "overlap": pl.Float64,
}


@dataclass(frozen=True)
class Scan:
    """What was found."""

    texts: pl.DataFrame
    """`text` (number), `index`, `turn`, `role`, of every turn that was scanned."""
    matches: pl.DataFrame
    """Columns of MATCHES_SCHEMA: how much of a segment a turn holds, by several measures, all in [0, 1] or words.

    `exact`: share of the segment's words, weighted by rarity, in runs that stand in the turn; `masked`: the same with
    numbers masked; `coverage`: unweighted, as Tulu 3 has it; `overlap`: weighted share of distinct runs, as decon has
    it; `longest`: words of the longest match, as ConTAM has it; `gap`: most words in a row without a match; `changed`:
    words with digits that differ; `start`, `stop`: words of the turn.
    """
    whole: pl.DataFrame
    """`text`, `item`: turns, or lines of turns, that are a whole question."""
    own_wording: NDArray[np.bool_]
    """For each item, whether only whole questions could be compared, since its runs are the training data's own."""
    words: int


def scan_rows(corpus: Corpus, index: EvalIndex, threads: int | None = None) -> Scan:
    """Look for the items of an index in every turn of every row.

    Args:
        corpus: rows of any kind.
        index: of `build_index`.
        threads: null takes one a core; the result does not depend on it.
    """
    turns = corpus.turns.with_row_index("text").filter(pl.col("content").is_not_null())
    texts = turns.select(pl.col("text").cast(pl.Int64), "index", "turn", "role")
    parts = list(_slices(turns["content"].str.len_bytes()))

    def work(part: tuple[int, int]) -> tuple[pl.DataFrame, pl.DataFrame, int]:
        piece = turns.slice(*part)
        return _look(piece["content"], piece["text"].to_numpy().astype(np.int64), index)

    with ThreadPoolExecutor(threads or os.cpu_count() or 1) as pool:
        found = list(pool.map(work, parts))
    hits = pl.concat([_NO_HITS, *(hits for hits, _, _ in found)])
    whole = pl.concat([_NO_WHOLE, *(whole for _, whole, _ in found)])
    dropped, own_wording = _own_wording(hits, texts, corpus.height, index)
    matches = _scored(hits, index, dropped)
    return Scan(texts, matches, whole.unique().sort("text", "item"), own_wording, sum(words for *_, words in found))


_NO_HITS = pl.DataFrame(schema={"text": pl.Int64, "place": pl.Int32, "gram": pl.Int32})
_NO_WHOLE = pl.DataFrame(schema={"text": pl.Int64, "item": pl.Int32})


def _slices(sizes: pl.Series) -> Iterator[tuple[int, int]]:
    """(first, number) of consecutive turns of about BATCH_BYTES."""
    if not len(sizes):
        return
    part = sizes.cast(pl.Int64).cum_sum() // BATCH_BYTES
    start = 0
    for length in part.rle().struct.field("len"):
        yield start, length
        start += length


def _look(content: pl.Series, numbers: NDArray[np.int64], index: EvalIndex) -> tuple[pl.DataFrame, pl.DataFrame, int]:
    """Hits of runs, whole questions, and the words of some turns."""
    from curate.contamination.kernel import find_grams, line_hashes

    spans = string_spans(comparable(content))
    longest = int(spans.lengths.max()) if len(spans) else 0
    size = (longest + 1) // 2 + 2
    room = np.empty(size, np.uint64), np.empty(size, np.uint8), np.empty(size, np.uint8)
    key = index.key_array
    capacity = 1 << 14
    while True:
        text, place, gram = (np.empty(capacity, np.int32) for _ in range(3))
        found, words = find_grams(
            spans.addresses, spans.lengths, index.width, key, index.lookup, room, text, place, gram
        )
        if found <= capacity:
            break
        capacity = found
    hits = pl.DataFrame({"text": numbers[text[:found]], "place": place[:found], "gram": gram[:found]})
    capacity = 4 * len(content) + 1024
    while True:
        owners, hashes = np.empty(capacity, np.int32), np.empty(capacity, np.uint64)
        lines = line_hashes(spans.addresses, spans.lengths, key, room, owners, hashes)
        if lines <= capacity:
            break
        capacity = lines
    return hits, _whole(owners[:lines], hashes[:lines], numbers, index), words


def _whole(
    owners: NDArray[np.int32], hashes: NDArray[np.uint64], numbers: NDArray[np.int64], index: EvalIndex
) -> pl.DataFrame:
    low = np.searchsorted(index.whole, hashes, "left")
    counts = np.searchsorted(index.whole, hashes, "right") - low
    some = counts > 0
    owner = np.repeat(numbers[owners[some]], counts[some])
    first = np.repeat(low[some], counts[some])
    step = np.arange(len(first)) - np.repeat(np.cumsum(counts[some]) - counts[some], counts[some])
    return pl.DataFrame({"text": owner, "item": index.whole_item[first + step]}, schema=_NO_WHOLE.schema)


def _own_wording(
    hits: pl.DataFrame, texts: pl.DataFrame, rows: int, index: EvalIndex
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(runs that the training data uses everywhere, items that consist of them)."""
    common = max(COMMON_ROWS, int(rows * COMMON_SHARE))
    often = (
        hits.lazy()
        .select("text", "gram")
        .join(texts.lazy().select("text", "index"), on="text")
        .unique(["gram", "index"])
        .group_by("gram")
        .len()
        .filter(pl.col("len") > common)
        .select("gram")
        .collect()["gram"]
        .to_numpy()
    )
    dropped = np.zeros(len(index.grams), np.bool_)
    dropped[often] = True
    lost = np.zeros(index.items.height, np.int64)
    held = np.zeros(index.items.height, np.int64)
    gram = index.gram_numbers
    asked = (index.seg_kind[index.post_seg] == QUESTION) & (index.post_masked == 0)
    owner = index.seg_item[index.post_seg[asked]]
    np.add.at(held, owner, 1)
    np.add.at(lost, owner, dropped[gram[asked]])
    return dropped, (held > 0) & (lost > OWN_WORDING * held)


def _scored(hits: pl.DataFrame, index: EvalIndex, dropped: NDArray[np.bool_]) -> pl.DataFrame:
    """Every (turn, segment) with at least LEAST of it, by all measures."""
    from curate.contamination.scoring import score_groups

    kept = hits.filter(~pl.Series(dropped[hits["gram"].to_numpy()], dtype=pl.Boolean)) if hits.height else hits
    gram = kept["gram"].to_numpy().astype(np.int64)
    counts = index.post_begin[gram + 1] - index.post_begin[gram]
    post = np.repeat(index.post_begin[gram], counts)
    post += np.arange(len(post)) - np.repeat(np.cumsum(counts) - counts, counts)
    pairs = pl.DataFrame(
        {
            "text": np.repeat(kept["text"].to_numpy(), counts),
            "seg": index.post_seg[post],
            "place": np.repeat(kept["place"].to_numpy(), counts),
            "at": index.post_place[post],
            "masked": index.post_masked[post],
            "gram": np.repeat(gram, counts),
        }
    ).sort("text", "seg", "place", "at", "masked")
    if pairs.is_empty():
        return pl.DataFrame(schema=MATCHES_SCHEMA)
    weights = index.weights(dropped)
    pairs = _promising(pairs, index)
    lengths = pairs.select("text", "seg").to_struct("pair").rle().struct.field("len").to_numpy()
    group = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=group[1:])
    out = np.zeros((len(lengths), 9))
    columns = tuple(pairs[name].to_numpy() for name in ("place", "at", "masked", "seg"))
    score_groups(group, columns, (index.seg_begin, index.numbers, weights), index.width, out)
    heads = pairs[group[:-1]].select("text", "seg")
    measured = heads.with_columns(
        exact=out[:, 0], masked=out[:, 1], coverage=out[:, 2], longest=out[:, 3].astype(np.int32),
        gap=out[:, 4].astype(np.int32), changed=out[:, 5].astype(np.int32), start=out[:, 6].astype(np.int32),
        stop=out[:, 7].astype(np.int32),
    )  # fmt: skip
    return measured.filter(pl.max_horizontal("exact", "masked") >= LEAST).join(
        _overlap(pairs, index, dropped), on=["text", "seg"], how="left", maintain_order="left"
    )


def _promising(pairs: pl.DataFrame, index: EvalIndex) -> pl.DataFrame:
    """Pairs of a turn and a segment with enough distinct runs to reach LEAST at all."""
    sizes = np.diff(index.seg_begin)
    runs = pl.Series(sizes[pairs["seg"].to_numpy()])
    enough = (pl.col("at").n_unique().over("text", "seg") + index.width - 1) >= LEAST * runs
    return pairs.filter(enough)


def _overlap(pairs: pl.DataFrame, index: EvalIndex, dropped: NDArray[np.bool_]) -> pl.DataFrame:
    """Rarity-weighted share of a segment's distinct unmasked runs that a turn holds."""
    gram = index.gram_numbers
    counts = (index.post_masked == 0) & ~dropped[gram]
    every = pl.DataFrame({"seg": index.post_seg[counts], "gram": gram[counts], "idf": index.idf[gram[counts]]}).unique(
        ["seg", "gram"]
    )
    total = every.group_by("seg").agg(total=pl.col("idf").sum())
    held = pairs.filter(pl.col("masked") == 0).select("text", "seg", "gram").unique()
    held = held.with_columns(idf=index.idf[held["gram"].to_numpy()])
    return (
        held.group_by("text", "seg")
        .agg(held=pl.col("idf").sum())
        .join(total, on="seg", how="left")
        .select("text", "seg", overlap=(pl.col("held") / pl.col("total")).cast(pl.Float64))
    )


def answer_shares(scan: Scan, index: EvalIndex) -> pl.DataFrame:
    """`text`, `item`, `share`: the greatest share of a long answer of the item that a turn holds."""
    kinds, owners = pl.Series(index.seg_kind), pl.Series(index.seg_item)
    of_answer = scan.matches.filter(kinds.gather(scan.matches["seg"]) == ANSWER)
    return (
        of_answer.with_columns(item=owners.gather(of_answer["seg"]))
        .group_by("text", "item")
        .agg(share=pl.col("exact").max())
    )


def choice_shares(scan: Scan, index: EvalIndex) -> pl.DataFrame:
    """`text`, `item`, `share`: of the question and the choices of an item together, by words."""
    sizes = np.diff(index.seg_begin)
    asked = index.seg_kind != ANSWER
    long = asked & (sizes >= index.width)
    total = np.zeros(index.items.height)
    np.add.at(total, index.seg_item[long], sizes[long])
    has_choices = np.zeros(index.items.height, np.bool_)
    has_choices[index.seg_item[long & (index.seg_kind == CHOICE)]] = True
    seg = scan.matches["seg"].to_numpy()
    found = scan.matches.with_columns(
        item=index.seg_item[seg], size=sizes[seg], counts=asked[seg] & has_choices[index.seg_item[seg]]
    ).filter("counts")
    held = found.group_by("text", "item").agg(held=(pl.col("coverage") * pl.col("size")).sum())
    shares = held["held"].to_numpy() / total[held["item"].to_numpy()]
    return held.select("text", "item").with_columns(share=pl.Series(shares, dtype=pl.Float64))
