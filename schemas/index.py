"""A persisted index on disk: a folder of segments that are never changed, and a header for each state it has been in.

    INDEX/segment-000001/...     files of the first build
    INDEX/index-000001.json      names them with their sha256
    INDEX/segment-000002/...     what was added later
    INDEX/index-000002.json      names both; the header with the highest number is the index

Adding writes a segment, then the header that names it: whoever reads meanwhile has the older header, whose files stay
as they are, and a segment that no header names is nothing. So a result can name the header that it was made with.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from schemas.atomic import (
    clear_leftovers,
    clear_lock,
    exclusive,
    partial_folder,
    readable_disk_errors,
    sync,
    write_atomic,
)
from schemas.base import Strict, file_digest, fingerprint
from schemas.errors import UnopenedError, UserError
from schemas.manifest import FileEntry, list_files

SCHEMA = "assay/index/1"
HEADER = re.compile(r"index-(\d{6})\.json")
AGAIN = "restore the folder from a copy, or build it again with `assay index build`"

Kind = Literal["contamination", "duplicates"]
Fill = Callable[[Path], dict[str, int]]
"""Writes the files of a segment into an empty folder and gives its counts; with all counts 0 nothing is added."""


class IndexSegment(Strict):
    """What one build or one addition wrote."""

    name: str = Field(pattern=r"^segment-\d{6}$")
    files: tuple[FileEntry, ...]
    """Paths are relative to the segment's folder."""
    counts: dict[str, int]


class IndexFormat(Strict):
    """What an index holds and how it was hashed: two indexes with another format know nothing of each other."""

    kind: Kind
    scheme: str
    """Names the hashes and the layout of the files."""
    parameters: dict[str, Any]
    """Everything that may differ between two indexes of one scheme."""
    probe: str
    """Digest of what fixed texts are hashed to: differs wherever another version of anything hashes otherwise."""


class IndexHeader(Strict):
    """`index-NNNNNN.json`: one state of an index."""

    schema_: Literal["assay/index/1"] = Field(default="assay/index/1", alias="schema")
    format: IndexFormat
    segments: tuple[IndexSegment, ...]
    digest: str = ""
    """sha256 of everything above."""

    model_config = Strict.model_config | {"populate_by_name": True, "serialize_by_alias": True}

    @property
    def counts(self) -> dict[str, int]:
        """The counts of all segments together."""
        total: dict[str, int] = {}
        for segment in self.segments:
            for name, count in segment.counts.items():
                total[name] = total.get(name, 0) + count
        return total

    @property
    def size(self) -> int:
        """Bytes of all files of all segments."""
        return sum(entry.bytes for segment in self.segments for entry in segment.files)

    def to_bytes(self) -> bytes:
        """The file's bytes; there is exactly one serialisation of a header."""
        body = self.model_dump(mode="json", exclude={"digest"})
        return json.dumps(body | {"digest": fingerprint(body)}, indent=1, ensure_ascii=False).encode() + b"\n"


def is_index(path: Path) -> bool:
    """Whether this is the folder of an index, or the header of one."""
    if path.is_file():
        return HEADER.fullmatch(path.name) is not None
    return path.is_dir() and bool(_headers(path))


def header_path(path: Path) -> Path:
    """The newest header of an index; a header stands for itself.

    Raises:
        UserError: there is none.
    """
    if HEADER.fullmatch(path.name) and path.is_file():
        return path
    found = _headers(path) if path.is_dir() else []
    if not found:
        raise UserError(
            "this is not an index",
            where=str(path),
            found="a folder without index-000001.json" if path.is_dir() else "a file" if path.exists() else "nothing",
            expected="the folder that `assay index build` made",
            help="a folder that ends in .partial was left by a build that did not finish: build again",
        )
    return found[-1]


def _headers(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if HEADER.fullmatch(path.name))


def read_header(path: Path) -> IndexHeader:
    """Read the newest header of an index and check its own integrity, not its segments'.

    Raises:
        UserError: there is none, or it is not what assay wrote.
    """
    path = header_path(path)
    try:
        data = path.read_bytes()
        raw = json.loads(data)
    except OSError as error:
        raise UnopenedError("the index", path, error) from error
    except (ValueError, RecursionError) as error:
        raise _damaged(path, f"no JSON: {error}") from error
    schema = raw.get("schema") if isinstance(raw, dict) else None
    if schema != SCHEMA:
        raise UserError(
            "this version of assay does not read this index",
            where=str(path),
            found=f"schema {str(schema)[:80]!r}",
            expected=f"schema {SCHEMA!r}",
            help="build it again with `assay index build`, or use the version of assay that made it",
        )
    try:
        header = IndexHeader.model_validate(raw)
        intact = header.to_bytes() == data
    except (ValidationError, ValueError, RecursionError) as error:
        raise _damaged(path, str(error).splitlines()[0]) from error
    if not intact:
        raise _damaged(path, "a header that was changed after it was written")
    return header


def read_index(path: Path, wanted: IndexFormat | None = None) -> tuple[IndexHeader, Path]:
    """The newest header of an index and its folder; every file that it names is hashed.

    Args:
        path: the folder, or one of its headers.
        wanted: what the index must hold; null for anything.

    Raises:
        UserError: it is damaged, of another kind, or hashed in another way.
    """
    header, folder = read_header(path), header_path(path).parent
    if wanted is not None:
        check_format(header, wanted, folder)
    problems = index_problems(header, folder)
    if problems:
        raise _damaged(folder, "\n".join(problems))
    return header, folder


def check_kind(header: IndexHeader, wanted: str, folder: Path) -> None:
    """Make sure that an index is of the kind that it is needed as.

    Raises:
        UserError: it is of the other one.
    """
    if header.format.kind != wanted:
        raise UserError(
            "this index is of another kind",
            where=str(folder),
            found=f"kind {header.format.kind}",
            expected=f"kind {wanted}",
            help="name the other index, or leave out --kind",
        )


def check_format(header: IndexHeader, wanted: IndexFormat, folder: Path) -> None:
    """Make sure that an index holds what it is needed for.

    Raises:
        UserError: naming what differs, what was found and what was expected.
    """
    found = header.format
    check_kind(header, wanted.kind, folder)
    names = sorted({*found.parameters, *wanted.parameters})
    pairs = [(name, found.parameters.get(name), wanted.parameters.get(name)) for name in names]
    told = [pair for pair in (("scheme", found.scheme, wanted.scheme), *pairs) if pair[1] != pair[2]]
    if not told and found.probe != wanted.probe:
        told = [("what fixed texts are hashed to", found.probe[:16], wanted.probe[:16])]
    if told:
        raise UserError(
            "this index was made in another way than this version of assay makes it",
            where=str(folder),
            found=", ".join(f"{name}: {value}" for name, value, _ in told)[:600],
            expected=", ".join(f"{name}: {value}" for name, _, value in told)[:600],
            help="build it again with `assay index build`, or use the version of assay that made it",
        )


def index_problems(header: IndexHeader, folder: Path) -> list[str]:
    """Every difference between the files of an index and its header, in words."""
    problems = []
    for segment in header.segments:
        for entry in segment.files:
            path = folder / segment.name / entry.path
            size = path.stat().st_size if path.is_file() else None
            if size is None:
                problems.append(f"{path}: missing ({entry.bytes:,} bytes expected)")
            elif size != entry.bytes:
                problems.append(f"{path}: {size:,} bytes ({entry.bytes:,} expected)")
            elif (found := file_digest(path)) != entry.sha256:
                problems.append(f"{path}: sha256 {found[:16]} ({entry.sha256[:16]} expected)")
    return problems


def create_index(folder: Path, format: IndexFormat, fill: Fill) -> IndexHeader:
    """Make an index with one segment; the folder is there when it is complete, or not at all.

    Raises:
        UserError: the folder exists, or cannot be written.
    """
    if folder.exists():
        clear_lock(folder)
        raise UserError(
            "there is something of this name already",
            where=str(folder),
            found="an index" if is_index(folder) else "a file or a folder",
            help="`assay index add` adds to an index; give another --out, or move this away",
        )
    with partial_folder(folder) as partial:
        header = IndexHeader(format=format, segments=(_filled(partial, 1, fill),))
        write_atomic(partial / _header_name(1), header.to_bytes())
    return header


def add_segment(folder: Path, fill: Callable[[IndexHeader, Path], dict[str, int]]) -> IndexHeader:
    """Add a segment to an index in one step; others may read it meanwhile, but only one process may add.

    Args:
        folder: of the index.
        fill: is given the header that it adds to and an empty folder.

    Returns:
        The new header, or the old one where there was nothing to add.

    Raises:
        UserError: there is no index, it is damaged, somebody else adds to it, or it cannot be written.
    """
    folder = header_path(folder).parent
    with exclusive(folder):
        clear_leftovers(folder)
        header = read_header(folder)
        number = len(header.segments) + 1
        segment = _filled(folder, number, lambda path: fill(header, path))
        if not any(segment.counts.values()):
            shutil.rmtree(folder / segment.name)
            return header
        added = IndexHeader(format=header.format, segments=(*header.segments, segment))
        write_atomic(folder / _header_name(number), added.to_bytes())
    return added


def _header_name(number: int) -> str:
    return f"index-{number:06}.json"


def _filled(folder: Path, number: int, fill: Fill) -> IndexSegment:
    """A segment written and synced; what a killed process left under its name goes."""
    path = folder / f"segment-{number:06}"
    with readable_disk_errors(path, only_named=True):
        if path.exists():
            shutil.rmtree(path)
        path.mkdir()
        try:
            counts = fill(path)
            for file in path.iterdir():
                sync(file)
            sync(path)
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise
    return IndexSegment(name=path.name, files=list_files(path), counts=counts)


def _damaged(path: Path, found: str) -> UserError:
    return UserError(
        "the index is damaged or was changed",
        where=str(path),
        found=found,
        expected="the bytes that `assay index` wrote",
        help=AGAIN,
    )
