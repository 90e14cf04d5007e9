"""Patterns of files as people know them from .gitignore, relative to the folder of whatever file holds them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from pathspec import PathSpec
from pathspec.patterns.gitignore.base import GitIgnorePatternError

from schemas.errors import UserError


def relative(path: str, root: Path) -> str:
    """A file's path from a folder, with `/` between its parts; as it was given where it lies elsewhere."""
    whole, base = os.path.abspath(path), os.path.abspath(root)
    inside = whole.startswith(base.rstrip(os.sep) + os.sep)
    return Path(os.path.relpath(whole, base)).as_posix() if inside else Path(path).as_posix()


def matcher(pattern: str, root: Path, where: str) -> Callable[[str], bool]:
    """Whether a path, as the user named the file, matches a pattern.

    Args:
        pattern: as in a .gitignore: `data/`, `*.csv`, `data/**/raw.jsonl`.
        root: the folder that it is relative to.
        where: for error messages.

    Raises:
        UserError: the pattern is none, or turns itself round with `!`.
    """
    try:
        spec = PathSpec.from_lines("gitignore", [pattern])
    except GitIgnorePatternError as error:
        raise _no_pattern(pattern, where) from error
    if not any(found.include for found in spec.patterns):
        raise _no_pattern(pattern, where)
    known: dict[str, bool] = {}

    def matches(path: str) -> bool:
        if path not in known:
            known[path] = spec.match_file(relative(path, root).lstrip("/"))
        return known[path]

    return matches


def _no_pattern(pattern: str, where: str) -> UserError:
    return UserError(
        "this is no pattern of files",
        where=where,
        found=repr(pattern)[:120],
        expected="one as in .gitignore, without `!`: tests/, *.csv, data/**/raw.jsonl",
    )
