"""What `make demo` costs once everything is installed: time, CPU time and peak memory of each of its stages.

    python benchmarks/demo_cost.py --out demo_cost.json

Runs the commands of `make demo` on the committed config, into an empty folder, one process a stage. Peak memory is the
largest resident set of that process (`wait4`), so it counts pages that it shares with others. The floor, measured in
the same run, is a Python that imports the training libraries and ends.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parents[1]
CONFIG = HERE / "examples" / "spam" / "assay.yaml"
FLOOR = "floor: import the training libraries"
STAGES: dict[str, tuple[list[str], tuple[int, ...]]] = {
    "audit": (["audit"], (0, 1)),
    "curate": (["curate"], (0,)),
    "gate data": (["gate", "data"], (0,)),
    "train": (["train"], (0,)),
    "evals": (["evals"], (0,)),
    "gate model": (["gate", "model"], (0, 1, 4)),
    "report": (["report"], (0,)),
}
"""Stage -> command, and the exit codes after which the demo goes on."""


def measured(command: list[str], allowed: tuple[int, ...]) -> dict[str, Any]:
    """Run a command and wait for it: exit code, wall and CPU seconds, peak memory in GB."""
    started = time.perf_counter()
    child = os.posix_spawn(command[0], command, dict(os.environ))
    _, status, usage = os.wait4(child, 0)
    code = os.waitstatus_to_exitcode(status)
    if code not in allowed:
        raise SystemExit(f"{' '.join(command)} exited {code}, so there is nothing to measure")
    return {
        "exit": code,
        "wall_s": round(time.perf_counter() - started, 1),
        "cpu_s": round(usage.ru_utime + usage.ru_stime, 1),
        "peak_gb": round(usage.ru_maxrss * 1024 / 1e9, 2),
    }


def costs(config: Path, folder: str) -> dict[str, dict[str, Any]]:
    """Name of a stage -> what it cost; the floor comes first."""
    found = {FLOOR: measured([sys.executable, "-c", "import torch, transformers, peft, trl.trainer.sft_trainer"], (0,))}
    for stage, (command, allowed) in STAGES.items():
        runs = [] if stage == "audit" else ["--set", f"runs={folder}"]
        found[stage] = measured([sys.executable, "-m", "assay", *command, "--config", str(config), *runs], allowed)
    return found


def main() -> None:
    """Measure, print a table, write the numbers where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--out", type=Path, help="write the numbers there, as JSON")
    given = parser.parse_args()
    os.chdir(HERE)
    with tempfile.TemporaryDirectory() as folder:
        found = costs(given.config, folder)
    floor = found.pop(FLOOR)
    whole = {
        "exit": found["gate model"]["exit"],
        "wall_s": round(sum(cost["wall_s"] for cost in found.values()), 1),
        "cpu_s": round(sum(cost["cpu_s"] for cost in found.values()), 1),
        "peak_gb": max(cost["peak_gb"] for cost in found.values()),
    }
    print(f"{platform.machine()}, {os.cpu_count()} cores")
    print(f"{'stage':12} exit   wall s    CPU s  peak GB")
    for name, cost in {**found, "whole demo": whole, "floor": floor}.items():
        print(f"{name:12} {cost['exit']:4} {cost['wall_s']:8.1f} {cost['cpu_s']:8.1f} {cost['peak_gb']:8.2f}")
    print(f"peak memory is {whole['peak_gb'] / floor['peak_gb']:.1f} times the floor")
    if given.out:
        given.out.write_text(json.dumps({"stages": found, "whole": whole, "floor": floor}, indent=1) + "\n")


if __name__ == "__main__":
    main()
