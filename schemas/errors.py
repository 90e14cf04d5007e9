"""Errors that a person can act on, and the exit codes they lead to.

    AssayError
    +-- UserError            exit 2   usage, or input that cannot be opened
    |   +-- ConfigError      exit 2   every problem of a config at once
    |   +-- ManifestError    exit 2   a stage folder that does not hash to its manifest
    |   +-- MissingExtra     exit 2   an optional dependency is not installed
    +-- Withheld             exit 1 or 4   evidence against it, or too little of it
    +-- ConservationError    exit 3   rows in != rows kept + rows dropped: our bug

Anything else that escapes is our bug too (exit 3, with a report file).
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum


class ExitCode(IntEnum):
    """Exit codes of every command; documented and tested."""

    PASS = 0
    FAIL = 1
    USAGE = 2
    BUG = 3
    INCONCLUSIVE = 4
    INTERRUPTED = 130
    TERMINATED = 143


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong: what it is, where it is, what was found, what was expected and what to do."""

    what: str
    where: str = ""
    found: str = ""
    expected: str = ""
    help: str = ""

    def lines(self) -> list[str]:
        """The problem as lines of text, the first without indentation."""
        labelled = (("-->", self.where), ("found", self.found), ("expected", self.expected), ("help:", self.help))
        return [self.what, *(f"  {label} {text}" for label, text in labelled if text)]


class AssayError(Exception):
    """Base of all errors that assay raises on purpose."""

    exit_code: ExitCode = ExitCode.BUG

    def __init__(self, *problems: Problem) -> None:
        super().__init__("; ".join(problem.what for problem in problems))
        self.problems = problems


class UserError(AssayError):
    """The situation needs a person: usage, a path, a permission, a full disk."""

    exit_code = ExitCode.USAGE

    def __init__(self, what: str, *, where: str = "", found: str = "", expected: str = "", help: str = "") -> None:
        super().__init__(Problem(what, where, found, expected, help))


class UnopenedError(UserError):
    """A file of the user's that the system does not open."""

    def __init__(self, what: str, path: object, error: OSError, *, expected: str = "", help: str = "") -> None:
        """Say so in the system's words.

        Args:
            what: what the file is to be, such as `the config`.
            path: where it should be.
            error: what the system said.
            expected: what the file should hold.
            help: what to do.
        """
        found = os.strerror(error.errno or 0)
        super().__init__(f"{what} cannot be opened", where=str(path), found=found, expected=expected, help=help)


class ConfigError(UserError):
    """A config that does not validate; carries every problem, not only the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        AssayError.__init__(self, *problems)


class ManifestError(UserError):
    """A stage folder that is incomplete, foreign, or does not hash to its manifest."""


class MissingExtra(UserError):
    """A command needs an optional dependency that is not installed."""

    def __init__(self, extra: str, package: str) -> None:
        super().__init__(
            f"this command needs the package {package!r}, which is not installed",
            help=f"pip install 'assay[{extra}]', or run `make setup`",
        )


class Withheld(AssayError):
    """A release that is not published: exit 1 where the evidence is against it, 4 where it does not suffice."""

    def __init__(self, exit_code: ExitCode, problem: Problem) -> None:
        super().__init__(problem)
        self.exit_code = exit_code


class ConservationError(AssayError):
    """Rows were lost or invented: rows in != rows kept + rows dropped."""

    def __init__(self, stage: str, rows_in: int, kept: int, dropped: int) -> None:
        super().__init__(
            Problem(
                "rows do not reconcile",
                where=stage,
                found=f"{rows_in} in, {kept} kept + {dropped} dropped = {kept + dropped}",
                expected="rows in = rows kept + rows dropped",
                help="this is a bug in assay; nothing was published",
            )
        )
