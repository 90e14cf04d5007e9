"""Word n-grams as 64-bit hashes: which rows hold how much of which eval item.

Words are runs of letters and digits of the normalised text; writing systems without spaces give long words, which match
only as wholes.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from curate.dedup import normalise
from curate.rows import Corpus
from curate.similar import comparable_texts

ROWS_PER_BATCH = 20_000
TEMPLATE_SHARE = 0.01
TEMPLATE_ROWS = 20
SEED = 20


def words_only(text: pl.Series) -> pl.Series:
    """The text as its words: normalised, letters and digits of any script, single spaces."""
    return normalise(text).str.replace_all(r"[^\p{L}\p{M}\p{N}]+", " ").str.strip_chars()


def eval_prompts(evals: Corpus) -> pl.DataFrame:
    """What each eval item asks: `item` (row index in the evals), `text`.

    The prompt without instructions and without the answer; for a record of no known shape, the longest text in it.
    """
    turns = evals.turns.filter(pl.col("part") == "messages").with_columns(
        last=(pl.col("turn") == pl.col("turn").max().over("index")) & (pl.col("role") == "assistant")
    )
    asked = turns.filter(~pl.col("last") & ~pl.col("role").is_in(["system", "developer"]))
    known = asked.group_by("index", maintain_order=True).agg(text=pl.col("content").str.join("\n"))
    texts = evals.turns.filter(pl.col("part") == "text").select("index", text="content")
    unknown = [
        (index, max(strings(evals.record(index)), key=len, default=""))
        for index in evals.rows.filter(pl.col("kind").is_null() & pl.col("row_id").is_not_null())["index"]
    ]
    others = pl.DataFrame(unknown, schema={"index": pl.UInt32, "text": pl.String}, orient="row")
    return pl.concat([known, texts, others]).sort("index").rename({"index": "item"})


def strings(value: object) -> list[str]:
    """Every text in a JSON value."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for item in value.values() for text in strings(item)]
    if isinstance(value, list):
        return [text for item in value for text in strings(item)]
    return []


def ngram_hashes(texts: pl.Series, n: int) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Hashes of all n-grams: (position of the text, hash), in order.

    Args:
        texts: word texts, single spaces.
        n: words in a row.
    """
    words = texts.str.split(" ")
    lengths = words.list.len().to_numpy().astype(np.int64)
    hashes = words.explode().fill_null("").hash(SEED).to_numpy()
    starts = np.concatenate(([0], np.cumsum(np.maximum(lengths, 1))))
    owners = np.repeat(np.arange(len(lengths)), np.maximum(lengths, 1))
    if len(hashes) < n:
        return np.empty(0, np.int64), np.empty(0, np.uint64)
    factors = np.random.default_rng(SEED).integers(1, 1 << 63, n, dtype=np.uint64) | np.uint64(1)
    windows = len(hashes) - n + 1
    mixed = np.zeros(windows, np.uint64)
    for place in range(n):
        mixed += (hashes[place : place + windows] ^ (hashes[place : place + windows] >> np.uint64(29))) * factors[place]
    inside = np.arange(windows) + n <= starts[1:][owners[:windows]]
    return owners[:windows][inside], mixed[inside]


def overlaps(corpus: Corpus, evals: Corpus, n: int) -> pl.DataFrame:
    """Rows that share n-grams with eval items: `index`, `item`, `shared` (distinct n-grams), `share` of the item's.

    N-grams that occur in more than 1% of the rows (and in more than 20) are the data's own template and do not count.
    Items with fewer than n words have no n-grams and never appear.
    """
    prompts = eval_prompts(evals)
    prompts = prompts.with_columns(text=words_only(prompts["text"]))
    owners, grams = ngram_hashes(prompts["text"], n)
    wanted = pl.DataFrame({"item": prompts["item"].gather(owners), "gram": grams}).unique()
    index = np.unique(grams)
    found = [pl.DataFrame(schema={"index": pl.UInt32, "gram": pl.UInt64})]
    texts = comparable_texts(corpus)
    for batch in texts.iter_slices(ROWS_PER_BATCH):
        rows, hashes = ngram_hashes(words_only(batch["text"]), n)
        if len(index):
            hits = index[np.minimum(np.searchsorted(index, hashes), len(index) - 1)] == hashes
            found.append(pl.DataFrame({"index": batch["index"].gather(rows[hits]), "gram": hashes[hits]}).unique())
    held = pl.concat(found)
    template = max(TEMPLATE_ROWS, int(texts.height * TEMPLATE_SHARE))
    common = held.group_by("gram").len().filter(pl.col("len") > template).select("gram")
    wanted = wanted.join(common, on="gram", how="anti")
    sizes = wanted.group_by("item").agg(grams=pl.len())
    return (
        held.join(wanted, on="gram")
        .group_by("index", "item")
        .agg(shared=pl.len())
        .join(sizes, on="item")
        .select("index", "item", "shared", share=pl.col("shared") / pl.col("grams"))
        .sort("index", "share", "item", descending=[False, True, False])
    )
