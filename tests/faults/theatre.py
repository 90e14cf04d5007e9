"""The scenes of phases, what each ends in when nobody disturbs it, and an account of what was tried."""

import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.phases import Phase
from tests.faults.processes import DATA, MODELS, CommandLine, Forks, Request, Running, Starter
from tests.faults.trees import Tree, differences, fresh_copy, problems, tree
from tests.tiny_model import write_tiny_model

PAGE = 4096
FULL = os.environ.get("ASSAY_FAULTS") == "full"
"""The long form; otherwise a few of each fault."""


@dataclass
class Tally:
    """What became of one fault in one phase."""

    fault: str
    phase: str
    tried: int = 0
    command_lines: int = 0
    """Of these, on processes started as a person starts them; the others were forked."""
    stopped: int = 0
    """Commands that the fault stopped; the others came to their end in spite of it."""
    clear: int = 0
    """Of those that could still speak, commands that said so in one clear error."""
    spoke: int = 0
    """Commands that were stopped and could still speak."""
    runs_again: int = 0
    equal: int = 0
    """Of these, runs that ended as the undisturbed one, and left the same files with the same bytes and no others."""
    found: list[str] = field(default_factory=list)
    """What went wrong, in words."""

    def said(self, running: Running, code: int, *expected: str) -> None:
        """Note a command that was stopped, and judge what it said.

        Args:
            running: it has ended.
            code: how it should have.
            expected: words of which its error must hold one; without any, no error is asked for.
        """
        self.stopped += 1
        self.spoke += 1
        err = running.err
        lines = [line for line in err.splitlines() if line.startswith("error:")]
        known = not expected or (len(lines) == 1 and any(words in err for words in expected) and "help:" in err)
        if running.code == code and known and "Traceback" not in err and "bug in assay" not in err:
            self.clear += 1
        else:
            self.found.append(f"exit {running.code} instead of {code}: {err[-700:]}")

    def compared(self, different: list[str], what: str) -> None:
        """Note a run after the fault, and how what it left differs from what it should have."""
        self.runs_again += 1
        self.equal += not different
        if different:
            self.found.append(f"{what}: {different[:8]}")

    @property
    def sound(self) -> bool:
        """Whether something was tried, and nothing went wrong."""
        return bool(self.tried) and self.clear == self.spoke and self.equal == self.runs_again and not self.found


@dataclass
class Undisturbed:
    """A phase, its scene, and what that becomes when nobody disturbs the command."""

    phase: Phase
    argv: tuple[str, ...]
    scene: Path
    """Never run in; copied."""
    work: Path
    """Where copies are disturbed."""
    after: Tree = field(default_factory=dict)
    touches: int = 0
    """Steps of its writing, see `hooks.die_at`."""
    growth: int = 0
    """Bytes of a disk that it takes at the least."""
    seconds: dict[str, float] = field(default_factory=dict)
    """How long it takes, by the starter's name."""

    def request(self, folder: Path, **faults: object) -> Request:
        """The command in a copy of the scene; what it prints lies beside that, on another disk if that is small."""
        given: dict[str, Any] = {"log": f"{self.work}.log"} | faults
        return Request(self.argv, str(folder), **given)

    def run(self, starter: Starter, folder: Path, **faults: object) -> Running:
        """The command, run to its end."""
        running = starter.start(self.request(folder, **faults))
        running.end()
        return running

    def check(self, running: Running, folder: Path, tally: Tally, what: str) -> None:
        """Compare what a run left with what the undisturbed one does."""
        refused = running.code == 2 and self.phase.refuses and self.phase.refuses in running.err
        if running.code != self.phase.exit_code and not refused:
            tally.compared([f"exit {running.code}: {running.err[-700:]}"], what)
            return
        try:
            tally.compared(differences(self.after, tree(folder)), what)
        except Exception as error:
            tally.compared([str(error)], what)

    def look(self, folder: Path, tally: Tally, what: str) -> None:
        """Note whatever could be taken for complete and is not."""
        tally.found += [f"{what}: {problem}" for problem in problems(folder)]


class Theatre:
    """Processes to fork from, a tiny model, and the scenes of phases, in a folder of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.command_line = CommandLine()
        self._forks: dict[tuple[bool, int], Forks] = {}
        self.model = root / "model"
        """A base model of some ten thousand weights, once a phase has needed it."""
        self._known: dict[str, Undisturbed] = {}

    def forks(self, phase: Phase, number: int = 0) -> Forks:
        """What commands are forked from; another number is another process, so that two can run at once."""
        key = phase.models, number
        if key not in self._forks:
            self._forks[key] = Forks(*(MODELS if phase.models else DATA))
        return self._forks[key]

    def undisturbed(self, phase: Phase, *starters: Starter) -> Undisturbed:
        """The phase's scene, and how it ends.

        Args:
            phase: what is to be disturbed.
            starters: ways to start it whose duration must be known.
        """
        known = self._known.get(phase.name) or self._first_time(phase)
        for starter in starters:
            if starter.name not in known.seconds:
                self._measure(known, starter)
        return known

    def _first_time(self, phase: Phase) -> Undisturbed:
        folder = self.root / "".join(letter if letter.isalnum() else "-" for letter in phase.name)
        scene, work = folder / "scene", folder / "work"
        scene.mkdir(parents=True)
        if phase.models and not self.model.exists():
            write_tiny_model(self.model)
        known = Undisturbed(phase, tuple(phase.scene(scene, self.model)), scene, work)
        forks = self.forks(phase)
        counted = known.run(forks, fresh_copy(scene, work), kill_at=0)  # compiles what is not compiled yet
        assert counted.code == phase.exit_code, counted.err
        known.after = tree(work)
        known.touches = int(Path(f"{work}.log.touches").read_text("ascii"))
        self._measure(known, forks)
        self._known[phase.name] = known
        return known

    def _measure(self, known: Undisturbed, starter: Starter) -> None:
        folder = fresh_copy(known.scene, known.work)
        begun = time.monotonic()
        running = known.run(starter, folder)
        known.seconds[starter.name] = time.monotonic() - begun
        assert running.code == known.phase.exit_code, running.err
        found = tree(folder)
        assert not differences(known.after, found), differences(known.after, found)
        known.growth = _on_disk(folder) - _on_disk(known.scene)

    def close(self) -> None:
        """End all processes."""
        for forks in self._forks.values():
            forks.close()


def _on_disk(folder: Path) -> int:
    """Bytes of all files, each in whole pages."""
    return sum(-(-path.stat().st_size // PAGE) * PAGE for path in folder.rglob("*") if path.is_file())


@contextmanager
def theatre() -> Iterator[Theatre]:
    """A theatre in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="assay-faults-") as folder:
        Path(folder).chmod(0o755)  # commands that run as another user lie in it
        opened = Theatre(Path(folder))
        try:
            yield opened
        finally:
            opened.close()
