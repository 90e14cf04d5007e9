"""Taking an audit into use on data that is not clean yet: what does not count is set aside, and counted."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from curate.audit import Audit
from curate.baseline import Baseline, Scope, compare, gone, known_things, notices, renewed, write_baseline
from curate.patterns import matcher
from curate.rules.catalogue import all_rules, resolve
from curate.set_aside import Notice, SetAside
from curate.waivers import Held, waive
from schemas.errors import Problem, UserError


@dataclass(frozen=True)
class FileIgnore:
    """Rules that do not count in some files."""

    in_file: Callable[[str], bool]
    codes: frozenset[str]


@dataclass(frozen=True)
class Adoption:
    """What is known, accepted or of no interest before an audit begins."""

    ignores: tuple[FileIgnore, ...] = ()
    waivers: tuple[Held, ...] = ()
    baseline: Baseline | None = None
    """What is known; null where there is no file yet."""
    target: Path | None = None
    """The baseline file, there or not; null where none is in use."""
    write: bool = False
    """Whether what is found is to be written to it."""
    today: datetime.date | None = None
    """The day that decides which waivers have expired; null for the present one (UTC)."""


def file_ignore(pattern: str, words: Sequence[str], root: Path, where: str, problems: list[Problem]) -> FileIgnore:
    """Rules to ignore in the files of a pattern; what is wrong is added to `problems`.

    Args:
        pattern: of files, as in .gitignore.
        words: rule codes, names, beginnings of codes, or families.
        root: the folder that the pattern is relative to.
        where: for error messages.
        problems: collects what is wrong.
    """
    codes: set[str] = set()
    for word in words:
        try:
            codes |= {rule.code for rule in resolve(word, where)}
        except UserError as error:
            problems += error.problems
    try:
        return FileIgnore(matcher(pattern, root, where), frozenset(codes))
    except UserError as error:
        problems += error.problems
        return FileIgnore(lambda _: False, frozenset())


def set_aside(audit: Audit, adoption: Adoption) -> Audit:
    """The audit with only those findings that count: not ignored in their file, not waived, not in the baseline.

    Raises:
        UserError: the baseline cannot be written.
    """
    looked_at = [
        finding
        for finding in audit.findings
        if not any(finding.code in ignore.codes and ignore.in_file(finding.path) for ignore in adoption.ignores)
    ]
    ran = frozenset(rule.code for rule in audit.rules if rule.code not in audit.not_run)
    today = adoption.today or datetime.datetime.now(datetime.UTC).date()
    waived = waive(looked_at, adoption.waivers, today, ran)
    aside = SetAside(ignored=len(audit.findings) - len(looked_at), waived=waived.count, notices=waived.notices)
    audit = replace(audit, findings=waived.open, aside=aside)
    if adoption.target is None or not audit.rows:
        return audit
    paths = frozenset(source.path for source in audit.corpus.sources)
    return _against(audit, adoption, Scope(paths, ran, frozenset(rule.code for rule in all_rules())))


def _against(audit: Audit, adoption: Adoption, scope: Scope) -> Audit:
    """The findings that the baseline does not cover; none once it has been written."""
    target, known = adoption.target or Path(), adoption.baseline
    aside = replace(audit.aside, baseline=str(target))
    if adoption.write:
        counts = renewed(known, known_things(audit.findings, target.parent), scope)
        write_baseline(target, counts)
        aside = replace(aside, covered=len(audit.findings), written=sum(counts.values()))
        return replace(audit, findings=(), aside=aside)
    if known is None:
        notice = Notice("there is no such baseline yet: every finding counts; --write-baseline writes it", str(target))
        return replace(audit, aside=replace(audit.aside, notices=(*audit.aside.notices, notice)))
    found = compare(audit.findings, known)
    aside = replace(
        aside,
        covered=len(audit.findings) - len(found.new),
        gone=gone(known, found.left, scope),
        notices=(*aside.notices, *notices(known, found, scope)),
    )
    return replace(audit, findings=found.new, aside=aside)
