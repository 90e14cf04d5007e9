"""Waivers: findings that somebody accepts, with a reason and a last day."""

from __future__ import annotations

import datetime
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from curate.patterns import matcher
from curate.rules.catalogue import resolve
from curate.set_aside import Notice
from curate.yamlfile import invalid, read_yaml
from schemas.config import Waiver
from schemas.errors import ConfigError, Problem, UserError
from schemas.finding import Finding
from schemas.terminal import printable

REASON_CHARS = 120
ROW_ID_CHARS = 8
"""A waiver gives at least this much of a row's id."""


@dataclass(frozen=True, eq=False)
class Held:
    """One waiver, ready to be held against findings."""

    waiver: Waiver
    path: str
    """The file that holds it."""
    line: int | None
    codes: frozenset[str] | None
    """Rules that it speaks of; null for any."""
    in_file: Callable[[str], bool] | None
    """Whether it speaks of a file; null for any."""

    def covers(self, finding: Finding) -> bool:
        """Whether every condition holds."""
        waiver = self.waiver
        return (
            (waiver.fingerprint is None or waiver.fingerprint == finding.fingerprint)
            and (waiver.row_id is None or (finding.row_id or "").startswith(waiver.row_id))
            and (self.codes is None or finding.code in self.codes)
            and (self.in_file is None or self.in_file(finding.path))
        )

    def expired(self, today: datetime.date) -> bool:
        """Whether its last day has passed."""
        return self.waiver.expires != "never" and self.waiver.expires < today


@dataclass(frozen=True)
class Waived:
    """Findings held against waivers."""

    open: tuple[Finding, ...]
    """Those that count, in their order."""
    count: int
    """Those that do not."""
    notices: tuple[Notice, ...]
    """Waivers that have expired, and those that match nothing."""


def read_waivers(path: Path) -> list[tuple[Waiver, str]]:
    """The entries of a waivers file, each with its `file:line`.

    Raises:
        UserError: it cannot be opened or is not YAML.
        ConfigError: an entry is not valid; carries every problem.
    """
    document = read_yaml(path, "the waivers file", "it holds a list of entries with code, reason and expires")
    problems = list(document.problems)
    entries = document.value
    if not isinstance(entries, list):
        problems.append(Problem("the waivers file is not a list", where=f"{path}:1", help=document.advice))
        raise ConfigError(problems)
    found = []
    for number, entry in enumerate(entries):
        try:
            found.append((Waiver.model_validate(entry), document.places[number,]))
        except ValidationError as error:
            problems += [invalid(dict(item), document, Waiver, (number,)) for item in error.errors()]
    if problems:
        raise ConfigError(problems)
    return found


def held(waivers: Iterable[tuple[Waiver, str]], root: Path) -> tuple[Held, ...]:
    """Waivers ready to be used.

    Args:
        waivers: each with its `file:line`.
        root: the folder that their patterns are relative to.

    Raises:
        ConfigError: one names a rule or a pattern that is none; carries every problem.
    """
    problems: list[Problem] = []
    found = []
    for waiver, where in waivers:
        codes, in_file = None, None
        try:
            if waiver.code is not None:
                codes = frozenset(rule.code for rule in resolve(waiver.code, where))
            if waiver.path is not None:
                in_file = matcher(waiver.path, root, where)
        except UserError as error:
            problems += error.problems
            continue
        path, _, line = where.rpartition(":")
        found.append(Held(waiver, path or where, int(line) if path and line.isdigit() else None, codes, in_file))
    if problems:
        raise ConfigError(problems)
    return tuple(found)


def waive(findings: Sequence[Finding], waivers: Sequence[Held], today: datetime.date, ran: Iterable[str]) -> Waived:
    """Take out what is waived; what only an expired waiver covers counts again.

    Args:
        findings: in reading order.
        waivers: from `held`.
        today: the day that decides which have expired.
        ran: codes of the rules that were run: a waiver for another rule is not said to match nothing.
    """
    places: dict[str, list[Held]] = defaultdict(list)
    for waiver in waivers:  # found by what they name most narrowly, not by trying each with every finding
        for key in _narrowest(waiver):
            places[key].append(waiver)
    uses: Counter[Held] = Counter()
    still_open = []
    for finding in findings:
        keys = (finding.fingerprint, (finding.row_id or "")[:ROW_ID_CHARS], finding.code)
        covering = [waiver for key in keys for waiver in places.get(key, ()) if waiver.covers(finding)]
        uses.update(covering)
        if all(waiver.expired(today) for waiver in covering):
            still_open.append(finding)
    run_codes = frozenset(ran)
    judged = [waiver for waiver in waivers if waiver.codes is None or waiver.codes & run_codes]
    said = [(waiver, _said(waiver, uses[waiver], today)) for waiver in judged]
    notices = tuple(Notice(text, waiver.path, waiver.line) for waiver, text in said if text)
    return Waived(tuple(still_open), len(findings) - len(still_open), notices)


def _narrowest(held: Held) -> Iterable[str]:
    """What findings that a waiver may cover are looked up by."""
    if held.waiver.fingerprint is not None:
        return (held.waiver.fingerprint,)
    return (held.waiver.row_id[:ROW_ID_CHARS],) if held.waiver.row_id is not None else held.codes or ()


def _said(held: Held, uses: int, today: datetime.date) -> str:
    """What a person should know of a waiver; nothing of one that does its work."""
    reason = printable(" ".join(held.waiver.reason.split()))
    why = f"(reason: {reason[:REASON_CHARS]}{'…' if len(reason) > REASON_CHARS else ''})"
    findings = f"{uses:,} finding{'s' if uses != 1 else ''}"
    if held.expired(today):
        again = f"{findings} count{'s' if uses == 1 else ''} again" if uses else "it matches nothing: remove it"
        return f"the waiver of {_subject(held.waiver)} expired on {held.waiver.expires}; {again} {why}"
    return "" if uses else f"the waiver of {_subject(held.waiver)} matches nothing in these files {why}"


def _subject(waiver: Waiver) -> str:
    named = [waiver.code, waiver.fingerprint, f"row {waiver.row_id}" if waiver.row_id else None]
    where = f" in {waiver.path}" if waiver.path else ""
    return printable(", ".join(part for part in named if part) + where)
