"""Commands of assay in processes of their own, each leader of a process group that can be killed as a whole.

A command is started as a person starts it, or forked from a process that has imported everything: that costs a
hundredth of a second and not several, so that hundreds can be killed.

    python -m tests.faults.processes PACKAGE...   serves requests on standard input, one JSON line each
"""

import contextlib
import importlib
import json
import os
import pkgutil
import select
import subprocess
import sys
import time
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from tests.faults import hooks

ROOT = Path(__file__).resolve().parents[2]
DATA = ("assay", "schemas", "curate")
MODELS = (*DATA, "train", "evals")
LIMIT_S = 600.0
"""No command of these takes as long; one that does hangs."""


@dataclass(frozen=True)
class Request:
    """A command line, where it is run, and what happens to it."""

    argv: Sequence[str]
    folder: str
    log: str
    """Stem of two files: `.out` and `.err`."""
    environment: dict[str, str] = field(default_factory=dict)
    kill_at: int | None = None
    """Dies at the n-th time that it touches something below its folder; 0 only counts, into `.touches`."""
    stop_at: tuple[tuple[str, ...], int] | None = None
    """Stops with SIGSTOP just before it opens one of these files for the n-th time."""
    clock: tuple[float, float] | None = None
    """After so many seconds the wall clock jumps by so many."""
    user: int | None = None
    """Runs as this user, not as root."""


class Running:
    """A command that was started."""

    def __init__(self, request: Request, pid: int) -> None:
        self.request = request
        self.pid = pid
        self.code: int | None = None

    def wait(self, seconds: float = LIMIT_S) -> int | None:
        """The exit code, negative for a signal; null if it still runs after so many seconds."""
        raise NotImplementedError

    def end(self) -> int:
        """The exit code of a command that ends by itself."""
        code = self.wait()
        assert code is not None, f"{self.request.argv} hangs"
        return code

    def stopped(self) -> bool:
        """Wait until it stops itself; false if it came to its end instead."""
        status = Path(f"/proc/{self.pid}/stat")
        while self.wait(0.002) is None:
            with contextlib.suppress(OSError):
                if status.read_text("ascii", "replace").rpartition(")")[2].split()[0] == "T":
                    return True
        return False

    def signal(self, number: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    @property
    def out(self) -> str:
        return Path(f"{self.request.log}.out").read_text("utf-8")

    @property
    def err(self) -> str:
        return Path(f"{self.request.log}.err").read_text("utf-8")


class Starter:
    """A way to start commands."""

    name = ""

    def start(self, request: Request) -> Running:
        raise NotImplementedError


# ----------------------------------------------------------------------------------------------- as a person does it


class _Started(Running):
    def __init__(self, request: Request, process: subprocess.Popen[bytes]) -> None:
        super().__init__(request, process.pid)
        self._process = process

    def wait(self, seconds: float = LIMIT_S) -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.code = self._process.wait(seconds)
        return self.code


class CommandLine(Starter):
    """`python assay.py ...`, from the first line of the interpreter on; knows no hooks."""

    name = "command line"

    def start(self, request: Request) -> Running:
        assert (request.kill_at, request.stop_at, request.clock) == (None, None, None)
        with open(f"{request.log}.out", "wb") as out, open(f"{request.log}.err", "wb") as err:
            process = subprocess.Popen(
                [sys.executable, str(ROOT / "assay.py"), *request.argv],
                cwd=request.folder,
                env=os.environ | {"NO_COLOR": "1"} | request.environment,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                start_new_session=True,
                user=request.user,
            )
        return _Started(request, process)


# -------------------------------------------------------------------------------------------------------- by forking


class _Forked(Running):
    def __init__(self, request: Request, pid: int, answers: IO[bytes]) -> None:
        super().__init__(request, pid)
        self._answers = answers

    def wait(self, seconds: float = LIMIT_S) -> int | None:
        if self.code is None and select.select([self._answers], [], [], max(seconds, 0.0))[0]:
            self.code = int(self._answers.readline())
        return self.code


class Forks(Starter):
    """Forks commands from a process that has imported all modules of some packages; one at a time."""

    name = "forked"

    def __init__(self, *packages: str) -> None:
        self._server = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.processes", *packages],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | {"NO_COLOR": "1"},
            bufsize=0,
        )
        self._last: Running | None = None

    def start(self, request: Request) -> Running:
        assert self._last is None or self._last.code is not None, "the last command was not waited for"
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        self._server.stdin.write(json.dumps(asdict(request)).encode() + b"\n")
        pid = int(self._server.stdout.readline())
        self._last = _Forked(request, pid, self._server.stdout)
        return self._last

    def close(self) -> None:
        """End the server."""
        assert self._server.stdin is not None
        self._server.stdin.close()
        self._server.wait(60)
        assert self._server.stdout is not None
        self._server.stdout.close()


def serve(packages: Sequence[str]) -> None:
    """Answer each request with the process it was forked to and, once that has ended, with its exit code."""
    for package in map(importlib.import_module, packages):
        for module in pkgutil.walk_packages(getattr(package, "__path__", ()), f"{package.__name__}."):
            importlib.import_module(module.name)
    while line := sys.stdin.buffer.readline():
        request = json.loads(line)
        pid = os.fork()
        if not pid:
            _become(Request(**request))
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.setpgid(pid, pid)  # here and there: whoever is first
        _answer(pid)
        _answer(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _answer(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


def _become(request: Request) -> None:
    """Turn the forked process into the command; does not return."""
    code = 70
    try:
        with contextlib.suppress(PermissionError):
            os.setpgid(0, 0)
        _redirect(request.log)
        os.environ.update(request.environment)
        if request.user is not None:
            os.setgroups([])
            os.setresgid(request.user, request.user, request.user)
            os.setresuid(request.user, request.user, request.user)
        os.chdir(request.folder)
        counted = None if request.kill_at is None else hooks.die_at(request.folder, request.kill_at)
        if request.stop_at is not None:
            hooks.stop_at(*request.stop_at)
        if request.clock is not None:
            hooks.jump(time.monotonic() + request.clock[0], request.clock[1])
        code = _command(request.argv)
        if counted is not None:
            Path(f"{request.log}.touches").write_text(str(counted()), "ascii")
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _redirect(log: str) -> None:
    for number, path in ((0, os.devnull), (1, f"{log}.out"), (2, f"{log}.err")):
        handle = os.open(path, os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(handle, number)
        os.close(handle)


def _command(argv: Sequence[str]) -> int:
    import assay

    sys.argv = ["assay", *argv]
    try:
        assay.main()
    except SystemExit as ended:
        code: Any = ended.code
        return int(code or 0)


if __name__ == "__main__":
    serve(sys.argv[1:])
