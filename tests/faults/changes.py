"""Inputs that change while a command reads them.

What comes out is a clear error, or the result of one version of each input: exactly what an undisturbed run over these
versions makes, the digests in its manifest included.
"""

import itertools
import os
import random
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.curate.made_rows import chat, lines_of
from tests.faults.phases import Phase, seeded
from tests.faults.processes import Forks, Running
from tests.faults.theatre import Tally, Theatre, Undisturbed
from tests.faults.trees import Tree, differences, fresh_copy, tree

PIECES = 4
PAUSE_S = 0.004
SAID = ("changed while it was being curated", "cannot be opened", "no such data file", "there is no row")
Contents = dict[str, bytes | None]
"""Name -> bytes of an input; null where it is not there."""


@dataclass(frozen=True)
class Change:
    """States of some inputs, one after the other, and how to get from each to the next."""

    states: Sequence[Contents]
    steps: Sequence[Callable[[Path], None]]

    def happen(self, folder: Path) -> None:
        """All steps, with pauses."""
        for step in self.steps:
            step(folder)
            time.sleep(PAUSE_S)


def _other(data: bytes) -> bytes:
    """Another version of rows: the second half of them, and new ones."""
    lines = data.splitlines(keepends=True)
    return b"".join(lines[len(lines) // 2 :]) + lines_of([chat(f"What is new, number {n}?", "yes") for n in range(40)])


def replaced(name: str, data: bytes) -> Change:
    """Another file takes its name, at once."""

    def step(folder: Path) -> None:
        (folder / f".{name}.new").write_bytes(_other(data))
        os.replace(folder / f".{name}.new", folder / name)

    return Change([{name: data}, {name: _other(data)}], [step])


def rewritten(name: str, data: bytes) -> Change:
    """It is emptied and written again piece by piece."""
    whole = _other(data)
    size = -(-len(whole) // PIECES)
    pieces = [whole[start : start + size] for start in range(0, len(whole), size)]
    states: list[Contents] = [{name: data}]
    states += [{name: b"".join(pieces[:count])} for count in range(len(pieces) + 1)]
    return Change(states, [lambda folder: _put(folder / name, b"", "wb"), *(_appending(name, one) for one in pieces)])


def appended(name: str, data: bytes) -> Change:
    """Rows come at its end, the first of them in two pieces."""
    more = lines_of([chat(f"What came later, number {n}?", "yes") for n in range(9)])
    parts = [more[:40], more[40:]]
    states: list[Contents] = [{name: data}, {name: data + parts[0]}, {name: data + more}]
    return Change(states, [_appending(name, part) for part in parts])


def truncated(name: str, data: bytes) -> Change:
    """It is cut off within a row."""
    size = len(data) * 2 // 3 + 5
    return Change([{name: data}, {name: data[:size]}], [lambda folder: os.truncate(folder / name, size)])


def deleted(name: str, data: bytes) -> Change:
    """It is gone, and comes back."""
    steps = [lambda folder: (folder / name).unlink(), lambda folder: _put(folder / name, data, "xb")]
    return Change([{name: data}, {name: None}], steps)


WAYS = (replaced, rewritten, appended, truncated, deleted)


def swapped(first: str, second: str, inputs: dict[str, bytes]) -> Change:
    """Two inputs take each other's names."""
    one, two = inputs[first], inputs[second]

    def rename(source: str, target: str) -> Callable[[Path], None]:
        return lambda folder: os.rename(folder / source, folder / target)

    states: list[Contents] = [
        {first: one, second: two},
        {first: None, second: two},
        {first: two, second: None},
        {first: two, second: one},
    ]
    return Change(states, [rename(first, ".aside"), rename(second, first), rename(".aside", second)])


def _put(path: Path, data: bytes, mode: str) -> None:
    with path.open(mode) as file:
        file.write(data)


def _appending(name: str, data: bytes) -> Callable[[Path], None]:
    return lambda folder: _put(folder / name, data, "ab")


# ---------------------------------------------------------------------------------------------------- trying them out


class Versions:
    """What undisturbed runs make of versions of the inputs; each is run when it is asked for first."""

    def __init__(self, known: Undisturbed, forks: Forks, names: Sequence[str]) -> None:
        self.names = names
        self._known, self._forks = known, forks
        self._made: dict[str, tuple[int, Tree]] = {}

    def of(self, contents: Contents) -> tuple[int, Tree]:
        """Exit code and results, without the inputs."""
        key = repr(sorted(contents.items()))
        if key not in self._made:
            folder = fresh_copy(self._known.scene, self._known.work.with_name("version"))
            put(folder, contents)
            running = self._known.run(self._forks, folder)
            assert running.code is not None
            self._made[key] = running.code, results(folder, contents)
        return self._made[key]


def put(folder: Path, contents: Contents) -> None:
    """Give inputs these bytes."""
    for name, data in contents.items():
        (folder / name).unlink(missing_ok=True)
        if data is not None:
            (folder / name).write_bytes(data)


def results(folder: Path, inputs: Contents) -> Tree:
    """What lies in a folder beside some of its inputs."""
    return {name: found for name, found in tree(folder).items() if name not in inputs}


def combinations(change: Change) -> Iterator[Contents]:
    """Each state as a whole, then any mixture: files are read one after the other."""
    yield change.states[0]
    yield change.states[-1]
    yield from change.states[1:-1]
    names = list(change.states[0])
    if len(names) > 1:
        for picked in itertools.product(change.states, repeat=len(names)):
            yield {name: state[name] for name, state in zip(names, picked, strict=True)}


def change_inputs(theatre: Theatre, phase: Phase, names: Sequence[str], times: int) -> Tally:
    """Change an input of a command while it runs: at random moments, and just before it opens one of its inputs.

    Args:
        theatre: where.
        phase: what.
        names: of its inputs; the first two are swapped as well.
        times: how often.
    """
    forks, tally = theatre.forks(phase), Tally("input changes", phase.name)
    known = theatre.undisturbed(phase, forks)
    versions, moments = Versions(known, forks, names), seeded("changes", phase.name)
    inputs = {name: (known.scene / name).read_bytes() for name in names}
    ways: list[Change] = [way(name, data) for name, data in inputs.items() for way in WAYS]
    if len(names) > 1:
        ways.append(swapped(names[0], names[1], inputs))
    moments.shuffle(ways)
    for number in range(times):
        change = ways[number % len(ways)]
        _change_once(known, forks, change, versions, moments, tally)
    return tally


def _change_once(
    known: Undisturbed, forks: Forks, change: Change, versions: Versions, moments: random.Random, tally: Tally
) -> None:
    by_time = bool(tally.tried % 2) or not Path("/proc/self/stat").exists()
    folder = fresh_copy(known.scene, known.work)
    if by_time:
        running = forks.start(known.request(folder))
        running.wait(moments.random() ** 3 * known.seconds[forks.name])  # inputs are read in the beginning
        change.happen(folder)
    else:
        watched = tuple(str(folder / name) for name in versions.names)
        running = forks.start(known.request(folder, stop_at=(watched, moments.randint(1, 2 * len(watched)))))
        if running.stopped():
            change.happen(folder)
            running.signal(signal.SIGCONT)
    running.end()
    tally.tried += 1
    what = f"{sorted(change.states[0])} of {len(change.states)} states"
    known.look(folder, tally, what)
    if running.code == 2:
        tally.said(running, 2, *SAID)
        put(folder, change.states[0])
        known.check(known.run(forks, folder), folder, tally, f"{what}, the run over the first version")
    else:
        tally.compared(_of_no_version(running, folder, change, versions), what)


def _of_no_version(running: Running, folder: Path, change: Change, versions: Versions) -> list[str]:
    """How the result differs from that of the first version, where it is the result of none; empty otherwise."""
    found = results(folder, change.states[0])
    if any(versions.of(contents) == (running.code, found) for contents in combinations(change)):
        return []
    first = versions.of(change.states[0])[1]
    return [f"the result of no version, exit {running.code}", *differences(first, found)]
