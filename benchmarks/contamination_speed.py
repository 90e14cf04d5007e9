"""How fast rows are scanned for eval items, what an index takes, and how the cost grows with the rows.

    python -m benchmarks.contamination_speed ROWS.jsonl [--items 100000] [--threads 2] [--steps 1,10]

ROWS are chats. The eval items are sentences of the docstrings of installed packages with some words more, so that every
run of theirs is looked up and few items are found. The floor, measured in the same run, is the text cut
into words by polars on as many threads.
"""

from __future__ import annotations

import argparse
import random
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time

import polars as pl

from benchmarks.dedup_corpus import documentation_texts
from curate.contamination.index import EvalIndex, build_index
from curate.contamination.items import Item
from curate.contamination.scan import scan_rows
from curate.contamination.verdicts import contamination
from curate.readers import read_corpus
from curate.rows import Corpus


def eval_items(count: int, seed: int = 0) -> list[Item]:
    """Questions of one or two real sentences and some words more, each with an answer."""
    rng = random.Random(seed)
    said = {part for text in documentation_texts(10, 400) for part in re.split(r"(?<=[.?!])\s", text)}
    sentences = sorted(part for part in said if 5 < len(part.split()) < 30)
    words = sorted({word for part in sentences for word in part.split()})
    found = []
    for at in range(count):
        asked = " ".join([*rng.sample(sentences, rng.randrange(1, 3)), *rng.choices(words, k=12)])
        found.append(Item("made", "made.jsonl", at + 1, at, f"{at:032x}", asked, (f"{at}",)))
    return found


def index_bytes(index: EvalIndex) -> int:
    """Bytes of every array of an index that is ready to be searched with, tables of look-ups included."""
    arrays = [value for value in vars(index).values() if hasattr(value, "nbytes")]
    arrays += [*index.run_table[:2], *index.whole_table[:2], index.whole_table[3], *index.wholes]
    counted = {id(array): int(array.nbytes) for array in arrays}
    return sum(counted.values()) + int(index.items.estimated_size())


def first_rows(corpus: Corpus, rows: int) -> Corpus:
    """A corpus of the first rows."""
    last = corpus.rows["index"][min(rows, corpus.height) - 1]
    kept = pl.col("index") <= last
    return replace(corpus, rows=corpus.rows.filter(kept), turns=corpus.turns.filter(kept), memo={})


def floor(content: pl.Series, threads: int) -> tuple[float, float]:
    """(CPU seconds, seconds) to lower the text and cut it into words, in slices on so many threads."""
    size = len(content) // (8 * threads) + 1
    parts = [content.slice(at, size) for at in range(0, len(content), size)]
    cpu, start = process_time(), perf_counter()
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda part: part.str.to_lowercase().str.extract_all(r"\w+").list.len().sum(), parts))
    return process_time() - cpu, perf_counter() - start


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", type=Path)
    parser.add_argument("--items", type=int, default=100_000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--steps", default="1,10", help="tenths of the rows to scan, for the growth of the cost")
    given = parser.parse_args()
    items = eval_items(given.items)
    cpu = process_time()
    index = build_index(items).telling
    built = process_time() - cpu
    corpus = read_corpus([given.rows])
    scan_rows(first_rows(corpus, 100), index, given.threads)  # compiled code and tables are loaded
    taken = index_bytes(index)
    say = sys.stdout.write
    say(f"index: {len(items):,} items, {len(index.grams):,} runs, {built:.1f} s CPU to build, ")
    say(f"{taken / len(index.grams):.1f} bytes a run\n")
    content = corpus.turns["content"].drop_nulls()
    size = float(content.str.len_bytes().sum()) / 1e6
    cpu, wall = floor(content, given.threads)
    say(f"floor: {size:.0f} MB cut into words, {cpu:.1f} s CPU, {size / cpu:.1f} MB per CPU second, {wall:.1f} s\n")
    for step in map(int, given.steps.split(",")):
        part = first_rows(corpus, corpus.height * step // 10)
        size = float(part.turns["content"].drop_nulls().str.len_bytes().sum()) / 1e6
        cpu, start = process_time(), perf_counter()
        verdicts, _ = contamination(part, index)
        cpu, wall = process_time() - cpu, perf_counter() - start
        say(f"{part.height:,} rows, {size:.1f} MB: {cpu:.2f} s CPU, {size / cpu:.1f} MB per CPU second, ")
        say(f"{wall:.2f} s, {size / wall:.1f} MB/s, {len(verdicts):,} verdicts\n")


if __name__ == "__main__":
    main()
