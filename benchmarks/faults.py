"""What disturbances do to assay's commands: kills, full disks, changing inputs, jumping clocks, two runs at once.

    python benchmarks/faults.py                                # all of it: see docs/faults.md for how long it takes
    python benchmarks/faults.py --faults kill --phases audit curate
    python benchmarks/faults.py --share 0.1                    # a tenth of the tries
    python benchmarks/faults.py --faults kill --typed 1        # each process begins with its own imports

Each line is one fault in one phase: commands that were disturbed (of these, started as a person starts them; the others
were forked from a process with everything imported); commands that it stopped; of those that could still speak, how
many gave one clear error; undisturbed runs after that, and how many of these ended as if nothing had happened, with the
same bytes in the same files and no others. The floor is the same command, undisturbed. The moments follow from the
phase's name: a second time they are the same shares of the time that the command takes. What went wrong is printed to
stderr, and makes the exit code 1.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the models are tiny

from tests.faults.changes import change_inputs
from tests.faults.disks import NoSmallDisk, fill_disk, refuse_writing
from tests.faults.kills import interrupt, kill_often
from tests.faults.phases import PHASES, Phase
from tests.faults.theatre import Tally, Theatre, theatre
from tests.faults.together import jump_clock, run_twice

Try = Callable[[Theatre, Phase, float, float], Tally]
COLUMNS = ("fault", "phase", "disturbed", "as typed", "stopped", "clear", "run again", "equal")
INPUTS = {
    "audit": ("rows.jsonl", "more.jsonl", "evals.jsonl"),
    "audit, text on disk": ("rows.jsonl", "more.jsonl", "evals.jsonl"),
    "curate": ("rows.jsonl", "more.jsonl"),
    "curate, text on disk": ("rows.jsonl", "more.jsonl"),
    "contamination": ("rows.jsonl", "more.jsonl", "evals.jsonl"),
    "index build, rows": ("rows.jsonl", "more.jsonl"),
    "index build, eval items": ("evals.jsonl",),
    "index add": ("rows.jsonl",),
}


def _times(count: float, share: float) -> int:
    return max(round(count * share), 1)


def _kill(stage: Theatre, phase: Phase, share: float, typed: float) -> Tally:
    kills = _times(phase.kills, share)
    return kill_often(stage, phase, kills, command_lines=round(kills * typed))


FAULTS: dict[str, tuple[Try, Callable[[Phase], bool]]] = {
    "kill": (_kill, lambda phase: True),
    "ask": (lambda stage, phase, share, _: interrupt(stage, phase, _times(12, share)), lambda phase: True),
    "disk": (lambda stage, phase, share, _: fill_disk(stage, phase, _times(12, share)), lambda phase: True),
    "read-only": (
        lambda stage, phase, share, _: refuse_writing(stage, phase),
        lambda phase: phase.name in ("audit", "curate", "index add"),
    ),
    "change": (
        lambda stage, phase, share, _: change_inputs(stage, phase, INPUTS[phase.name], _times(32, share)),
        lambda phase: phase.name in INPUTS,
    ),
    "twice": (lambda stage, phase, share, _: run_twice(stage, phase, _times(9, share)), lambda phase: True),
    "clock": (lambda stage, phase, share, _: jump_clock(stage, phase, _times(6, share)), lambda phase: True),
}
"""Name -> how it is tried, and in which phases."""


def line(tally: Tally) -> Sequence[object]:
    """The columns of one tally."""
    clear = f"{tally.clear}/{tally.spoke}" if tally.spoke else "-"
    again = (tally.runs_again, f"{tally.equal}/{tally.runs_again}")
    return (tally.fault, tally.phase, tally.tried, tally.command_lines, tally.stopped, clear, *again)


def show(columns: Sequence[object]) -> None:
    """One line of the table."""
    print("| " + " | ".join(map(str, columns)) + " |", flush=True)


def main() -> int:
    """Print the table and what went wrong; the exit code."""
    parser = argparse.ArgumentParser(description="Disturb assay's commands and count what becomes of them.")
    parser.add_argument("--faults", nargs="+", choices=FAULTS, default=list(FAULTS))
    parser.add_argument("--phases", nargs="+", choices=[phase.name for phase in PHASES])
    parser.add_argument("--share", type=float, default=1.0, help="share of the tries")
    parser.add_argument(
        "--typed", type=float, default=0.1, help="share of the kills of commands as a person types them"
    )
    given = parser.parse_args()
    begun, tallies = time.monotonic(), []
    show(COLUMNS)
    show(["---"] * 2 + ["--:"] * (len(COLUMNS) - 2))
    with theatre() as stage:
        for name in given.faults:
            attempt, applies = FAULTS[name]
            for phase in PHASES:
                if not applies(phase) or (given.phases and phase.name not in given.phases):
                    continue
                try:
                    tallies.append(attempt(stage, phase, given.share, given.typed))
                except NoSmallDisk:
                    print("no small file system can be mounted here: a full disk is not tried", file=sys.stderr)
                    break
                show(line(tallies[-1]))
                for found in tallies[-1].found:
                    print(f"{tallies[-1].fault}, {phase.name}: {found}", file=sys.stderr)
    usage = os.times()
    print(f"\n{time.monotonic() - begun:.0f} s; {usage.children_user + usage.children_system:.0f} s of CPU")
    return int(not tallies or not all(tally.sound for tally in tallies))


if __name__ == "__main__":
    sys.exit(main())
