"""Commands that run at the same time in one folder, and clocks that jump."""

import signal

from tests.faults.phases import Phase, seeded
from tests.faults.theatre import Tally, Theatre
from tests.faults.trees import fresh_copy

DAY_S = 86_400.0
JUMPS_S = (-DAY_S, 365 * DAY_S)


def run_twice(theatre: Theatre, phase: Phase, times: int) -> Tally:
    """Give a command twice, the second time while the first runs: one works, the other says who does, or reuses it."""
    forks, others, tally = theatre.forks(phase), theatre.forks(phase, 1), Tally("two at once", phase.name)
    known = theatre.undisturbed(phase, forks)
    moments = seeded("together", phase.name)
    for number in range(times):
        folder = fresh_copy(known.scene, known.work)
        first = forks.start(known.request(folder))
        first.wait(moments.uniform(0.0, known.seconds[forks.name]))
        second = others.start(known.request(folder, log=f"{known.work}.second"))
        killed = number % 3 == 2
        if killed:
            second.end()
            first.signal(signal.SIGKILL)
        first.end()
        second.end()
        tally.tried += 1
        for running in (first, second):
            if running.code == 2:
                tally.said(running, 2, "another assay run is writing", "something of this name already")
        known.look(folder, tally, "two at once")
        done = known.phase.exit_code
        if killed:
            known.check(known.run(forks, folder), folder, tally, "the run after the first of two was killed")
        else:
            known.check(first if first.code == done else second, folder, tally, "two at once")
    return tally


def jump_clock(theatre: Theatre, phase: Phase, times: int) -> Tally:
    """Let the wall clock jump by a day back or a year ahead at random moments: the bytes stay the same."""
    forks, tally = theatre.forks(phase), Tally("clock jumps", phase.name)
    known = theatre.undisturbed(phase, forks)
    moments = seeded("clock", phase.name)
    for number in range(times):
        folder = fresh_copy(known.scene, known.work)
        jump = moments.uniform(0.0, known.seconds[forks.name]), JUMPS_S[number % 2]
        tally.tried += 1
        known.check(known.run(forks, folder, clock=jump), folder, tally, f"clock by {jump[1]:+.0f} s")
    return tally
