"""Commands killed with SIGKILL, once or several times in a row, and interrupted with SIGINT and SIGTERM."""

import random
import signal
from pathlib import Path

from tests.faults.phases import Phase, seeded
from tests.faults.processes import CommandLine, Running, Starter
from tests.faults.theatre import Tally, Theatre, Undisturbed
from tests.faults.trees import differences, fresh_copy, tree

IN_A_ROW = 0.3
"""Share of the runs after a kill that are killed as well."""
AT_A_STEP = 0.3
"""Share of the kills of forked commands at a step of their writing, and not at a moment of their time."""
MISSES = 20
"""Of so many moments in a row, not all can lie behind the command's end."""


def kill_often(theatre: Theatre, phase: Phase, kills: int, *, command_lines: int = 0) -> Tally:
    """Kill a phase's command at random moments of its time, run it again, and look.

    Args:
        theatre: where.
        phase: what.
        kills: how often, kills of the runs after a kill included.
        command_lines: how many of these are of true command-line processes.
    """
    forks, tally = theatre.forks(phase), Tally("kill -9", phase.name)
    moments = seeded("kills", phase.name)
    while tally.tried < kills and len(tally.found) < MISSES:
        starter = theatre.command_line if tally.command_lines < command_lines else forks
        known = theatre.undisturbed(phase, starter)
        _kill_and_run_again(known, starter, moments, tally, kills)
    return tally


def _kill_and_run_again(known: Undisturbed, starter: Starter, moments: random.Random, tally: Tally, most: int) -> None:
    """Kill once or several times in a row, then let it run, and compare."""
    folder, kills = fresh_copy(known.scene, known.work), 0
    for _ in range(MISSES):
        running = _start_and_kill(known, starter, folder, moments)
        if running.code == -signal.SIGKILL:
            kills += 1
            tally.tried += 1
            tally.stopped += 1
            tally.command_lines += isinstance(starter, CommandLine)
            known.look(folder, tally, f"after kill {tally.tried} (step {running.request.kill_at})")
            if tally.tried == most or moments.random() >= IN_A_ROW:
                break
        elif kills or running.code != known.phase.exit_code:
            known.check(running, folder, tally, f"a run that outran its kill, after kill {tally.tried}")
            return
        else:  # the moment was behind its end
            folder = fresh_copy(known.scene, known.work)
    known.check(known.run(starter, folder), folder, tally, f"the run after kill {tally.tried}")


def _start_and_kill(known: Undisturbed, starter: Starter, folder: Path, moments: random.Random) -> Running:
    if not isinstance(starter, CommandLine) and moments.random() < AT_A_STEP:
        return known.run(starter, folder, kill_at=moments.randint(1, known.touches))
    running = starter.start(known.request(folder))
    running.wait(moments.uniform(0.0, known.seconds[starter.name]))
    running.signal(signal.SIGKILL)
    running.end()
    return running


def interrupt(theatre: Theatre, phase: Phase, times: int) -> Tally:
    """Ask a command to end, at random moments: it says so in a line, and leaves only what a later run goes on with."""
    forks, tally = theatre.forks(phase), Tally("SIGINT, SIGTERM", phase.name)
    known = theatre.undisturbed(phase, forks)
    before, moments = tree(known.scene), seeded("interrupt", phase.name)
    for number in range(times):
        folder = fresh_copy(known.scene, known.work)
        asked = (signal.SIGINT, signal.SIGTERM)[number % 2]
        running = forks.start(known.request(folder))
        running.wait(moments.uniform(0.0, known.seconds[forks.name]))
        running.signal(asked)
        tally.tried += 1
        if running.end() != known.phase.exit_code:
            tally.said(running, 128 + asked)
            if not running.err.rstrip().rpartition("\n")[2].startswith("interrupted: finished results are kept"):
                tally.found.append(f"{asked.name} is told as {running.err[-500:]!r}")
            left = tree(folder)
            half = [name for name in differences(before, left) if left.get(name) not in ("", known.after.get(name))]
            if half and not phase.models:
                tally.found.append(f"{asked.name} leaves {half[:8]}")
        known.check(known.run(forks, folder), folder, tally, f"the run after {asked.name}")
    return tally
