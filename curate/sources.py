"""From what a person named to the files that are read: files, globs, folders, and datasets saved by Hugging Face."""

from __future__ import annotations

import glob
import itertools
import json
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from schemas.errors import ConfigError, Problem

DATA_SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".tsv", ".parquet", ".arrow", ".feather")
PACKED_SUFFIXES = ("", ".gz", ".zst", ".bz2", ".xz")
SAVED_STATE, SAVED_SPLITS = "state.json", "dataset_dict.json"
MAX_STATE_BYTES = 1 << 24


@dataclass
class Found:
    """The files to read, and what a search left out."""

    files: dict[Path, str | None] = field(default_factory=dict)
    """File -> the split that it holds, where a saved dataset says so."""
    skipped: dict[Path, str] = field(default_factory=dict)
    """What a folder or a glob holds besides -> why it is not read."""
    problems: list[Problem] = field(default_factory=list)
    real: dict[str, Path] = field(default_factory=dict)
    """Where links lead -> the name under which the file is read."""

    def add(self, path: Path, split: str | None = None) -> bool:
        """Read this file too, unless it is one of the files already; gives whether it is a new one."""
        first = self.real.setdefault(os.path.realpath(path), path)
        if first != path:
            self.skipped[path] = f"the same file as {first}"
            return False
        self.files.setdefault(path, split)
        return True


def find_sources(
    entries: Iterable[str], root: Path, where: str, *, results: Path | None = None, start: str = "the config"
) -> Found:
    """Turn files, globs and folders into a list of files, sorted within each entry, without repeats.

    A folder is searched with all its folders. Hidden files and folders, links to folders, pipes, devices, and files of
    other kinds are left out and named. A folder that `Dataset.save_to_disk` or `DatasetDict.save_to_disk` of
    Hugging Face `datasets` wrote gives the files that its state names, in that order.

    Args:
        entries: what the person named.
        root: the folder that relative entries start from.
        where: for error messages.
        results: the folder of our own results, which a folder or a glob above it leaves out.
        start: whose folder `root` is, for error messages; empty for the current one.

    Raises:
        ConfigError: an entry matches no file; carries every such entry.
    """
    found = Found()
    for entry in entries:
        path = root / entry
        known = len(found.problems)
        if not entry.strip():
            matches = []
        elif path.is_dir():
            matches = list(_in_folder(path, results, found))
        elif path.exists():
            matches = [(path, None)]
        else:
            matches = [(match, None) for match in _in_glob(entry, root, where, results, found)]
        for match, split in matches:
            found.add(match, split)
        if not matches and len(found.problems) == known:
            found.problems.append(_no_match(entry, root, where, start))
    if found.problems:
        raise ConfigError(found.problems)
    return found


def expand_paths(
    entries: Iterable[str], root: Path, where: str, *, results: Path | None = None, start: str = "the config"
) -> tuple[Path, ...]:
    """The files of `find_sources` alone."""
    return tuple(find_sources(entries, root, where, results=results, start=start).files)


def _in_folder(folder: Path, results: Path | None, found: Found) -> Iterator[tuple[Path, str | None]]:
    """Data files of a folder and of its folders, by name, and the split of each where it is known."""
    waiting = [folder]
    while waiting:
        path = waiting.pop()
        if path != folder and (why := _left_out(path, folder, results)) is not None:
            if why:
                found.skipped[path] = why
        elif not path.is_dir():
            yield path, None
        elif (saved := _saved_dataset(path, found)) is not None:
            yield from saved
        else:
            waiting += reversed(_listed(path, found))


def _left_out(path: Path, folder: Path, results: Path | None) -> str | None:
    """Why what a folder holds is not read; empty for our own results, null if it is read."""
    if _made(path, folder, results):
        return ""
    if path.name.startswith("."):
        return "hidden"
    if path.is_dir():
        return "a link to a folder" if path.is_symlink() else None
    return _unreadable(path) or (None if _is_data(path) else "its name is not that of a data file")


def _listed(folder: Path, found: Found) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        found.skipped[folder] = os.strerror(error.errno or 0)
        return []


def _unreadable(path: Path) -> str:
    """Why what a search met is no file with an end; empty if it is one. Opening a pipe could wait for ever."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        return f"a link to {os.readlink(path)!r}: {os.strerror(error.errno or 0)}" if path.is_symlink() else str(error)
    if stat.S_ISREG(mode):
        return ""
    return "a named pipe" if stat.S_ISFIFO(mode) else "a socket" if stat.S_ISSOCK(mode) else "a device"


def _saved_dataset(folder: Path, found: Found) -> list[tuple[Path, str | None]] | None:
    """Files of a folder that `save_to_disk` wrote, with their split; null if it is no such folder."""
    splits = _state(folder / SAVED_SPLITS, "splits", found)
    if splits is not None:
        files = []
        for split in splits:
            inner = _saved_dataset(folder / split, found) if _plain_name(split) else None
            if inner is None:
                found.problems.append(_damaged(folder / SAVED_SPLITS, f"the split {split!r} is not there"))
            files += [(path, split) for path, _ in inner or ()]
        return files
    shards = _state(folder / SAVED_STATE, "_data_files", found)
    if shards is None:
        return None
    files = []
    for shard in shards:
        name: Any = shard.get("filename") if isinstance(shard, dict) else None
        if _plain_name(name) and (folder / name).is_file():
            files.append((folder / name, None))
        else:
            found.problems.append(_damaged(folder / SAVED_STATE, f"the file {name!r} is not there"))
    return files


def _state(path: Path, key: str, found: Found) -> list[Any] | None:
    """The list under a key of a saved dataset's JSON; null where there is no such file or no such key."""
    if not path.is_file():
        return None
    try:
        state = json.loads(path.read_bytes()[:MAX_STATE_BYTES])
    except (OSError, ValueError, RecursionError) as error:
        found.problems.append(_damaged(path, str(error)))
        return None
    if not isinstance(state, dict) or not isinstance(state.get(key), list):
        return None
    if state.get("_indices_files") or state.get("_indices_data_files"):
        found.problems.append(_damaged(path, "rows are chosen by an index beside the data", "flatten_indices() first"))
    value: list[Any] = state[key]
    return value


def _plain_name(name: Any) -> bool:
    """Whether this names something directly inside a folder."""
    return isinstance(name, str) and name not in ("", ".", "..") and "/" not in name and "\0" not in name


def _damaged(path: Path, said: str, advice: str = "save it again with save_to_disk") -> Problem:
    return Problem("the saved dataset cannot be read", str(path), said, help=advice)


def _in_glob(entry: str, root: Path, where: str, results: Path | None, found: Found) -> Iterator[Path]:
    """Files that a glob matches, by name; hidden ones only where the glob spells the dot.

    `**` follows no links: two links to the folder that they stand in would lead through 2^40 paths.
    """
    parts = Path(entry).parts
    fixed = list(itertools.takewhile(lambda part: not glob.has_magic(part), parts))
    wild = parts[len(fixed) :]
    if ".." in wild:
        found.problems.append(
            Problem("a glob leaves the folder it searches", where, repr(entry), "no `..` after a wildcard")
        )
        return
    searched = root.joinpath(*fixed)
    if not wild or not searched.is_dir():
        return
    dotted = any(part.startswith(".") for part in wild)
    for path in sorted(searched.glob("/".join(wild))):
        inside = path.relative_to(searched).parts
        if path.is_dir() or _made(path, searched, results) or (not dotted and any(p[0] == "." for p in inside)):
            continue
        if why := _unreadable(path):
            found.skipped[path] = why
        else:
            yield path


def _made(path: Path, searched: Path, results: Path | None) -> bool:
    """Whether a file that a search met lies among our own results, which are no source of theirs."""
    if results is None:
        return False
    made = results.absolute()
    return path.absolute().is_relative_to(made) and not searched.absolute().is_relative_to(made)


def _no_match(entry: str, root: Path, where: str, start: str) -> Problem:
    path = root / entry
    found = f"{entry!r} matches nothing under {os.path.relpath(root)}"
    advice = f"check the path; relative paths start from the folder of {start}" if start else "check the path"
    if not entry.strip():
        found = "an empty path"
    elif path.is_dir():
        found = f"{entry!r} is a folder without data files"
        advice = f"data files end in {', '.join(DATA_SUFFIXES)}, packed or not"
    elif path.is_symlink():
        found = f"{entry!r} is a link to {os.readlink(path)!r}, which does not exist"
    elif start and os.path.exists(entry):
        advice = f"it exists under the current folder, but relative paths start from the folder of {start}"
    return Problem("no such data file", where, found, "a file, a glob or a folder with data files", advice)


def _is_data(path: Path) -> bool:
    name = path.name.lower()
    return any(name.endswith(data + packed) for data in DATA_SUFFIXES for packed in PACKED_SUFFIXES)
