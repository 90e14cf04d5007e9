"""The chain of evidence behind a result: read it, print it, and find every byte that is not as it was written.

A result names its inputs by digest, each of them names its own, down to the raw rows and the base model. Reading the
chain opens manifests only; verifying re-hashes every file in it and checks again what can be checked from the files.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from evals.proofs import recheck
from schemas.base import file_digest
from schemas.errors import ManifestError, UserError
from schemas.index import header_path, is_index, read_header
from schemas.manifest import MANIFEST_NAME, InputRef, Manifest, manifest_path, read_manifest, stage_fingerprint

MAX_DEPTH = 64
"""Longest chain that is followed; a real one has about eight stages."""
SHOWN_DIFFERENCES = 10
"""As many as a message names."""


@dataclass(frozen=True)
class Node:
    """One thing in the chain: a stage's manifest, or a plain file."""

    path: Path
    """The manifest, or the file."""
    manifest: Manifest | None
    """Null for a plain file, and for a manifest that cannot be read."""
    error: ManifestError | None = None
    """Why the manifest cannot be read."""
    links: tuple[Link, ...] = ()

    @property
    def folder(self) -> Path:
        """The stage folder."""
        return self.path.parent

    def walk(self) -> Iterator[Node]:
        """Every node below and including this one, each once, parents before their inputs."""
        seen: set[Path] = set()
        waiting = [self]
        while waiting:
            node = waiting.pop(0)
            if node.path not in seen:
                seen.add(node.path)
                yield node
                waiting.extend(link.node for link in node.links)

    def find(self, stage: str) -> Node | None:
        """The nearest node of a stage, this one included."""
        return next((node for node in self.walk() if node.manifest and node.manifest.stage == stage), None)


@dataclass(frozen=True)
class Link:
    """How a stage used an input."""

    ref: InputRef
    """What the stage recorded about it."""
    node: Node


@dataclass(frozen=True)
class Difference:
    """One thing that is not as it was written."""

    path: str
    what: str
    expected: str = ""
    found: str = ""


@dataclass
class Verification:
    """What verifying a chain found."""

    root: Node
    stages: int = 0
    files: int = 0
    bytes: int = 0
    differences: list[Difference] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What a reader should know and that is no difference."""


def read_chain(path: Path) -> Node:
    """Read a result's manifest and, through its inputs, every manifest below it. Files are not hashed.

    Args:
        path: a stage folder or its manifest.

    Raises:
        ManifestError: the file cannot be opened, or is not called manifest.json and is no manifest. A manifest.json
            that was changed is part of the answer: its node carries the error.
    """
    path = Path(os.path.normpath(manifest_path(path)))
    root = _read_node(path, {}, ())
    if root.error and (path.name != MANIFEST_NAME or isinstance(root.error.__cause__, OSError)):
        raise root.error
    return root


def read_index_node(path: Path) -> Node:
    """An index as something to verify: its newest header.

    Raises:
        UserError: it is not what assay wrote.
    """
    read_header(path)
    return Node(header_path(path), None)


def _read_node(path: Path, known: dict[Path, Node], above: tuple[Path, ...]) -> Node:
    if path in known:
        return known[path]
    try:
        if path in above or len(above) > MAX_DEPTH:
            raise ManifestError("the chain runs in a circle or is too long", where=str(path))
        manifest = read_manifest(path)
    except ManifestError as error:
        return Node(path, None, error)
    links = []
    for ref in manifest.inputs:
        target = Path(os.path.normpath(path.parent / ref.path))
        node = Node(target, None) if ref.content is None else _read_node(target, known, (*above, path))
        links.append(Link(ref, node))
    known[path] = Node(path, manifest, links=tuple(links))
    return known[path]


def shown(path: Path) -> str:
    """The path as a person would type it: from the current folder where it is near, else from home or the root."""
    near, full = os.path.relpath(path), path.absolute()
    if not near.startswith(os.path.join(os.pardir, os.pardir)):
        return near
    return str(Path("~", full.relative_to(Path.home()))) if full.is_relative_to(Path.home()) else str(full)


def verify_chain(root: Node) -> Verification:
    """Re-hash every file of a chain and name every difference.

    A stage rebuilt with the same bytes (its manifest differs in times only) is a note, not a difference.
    """
    verification = Verification(root)
    digests: dict[Path, str | OSError] = {}
    for node in root.walk():
        if node.error:
            verification.differences.append(_unreadable(node.path, node.error))
        elif node.manifest:
            verification.stages += 1
            _verify_stage(verification, node, node.manifest, digests)
        elif is_index(node.path):
            _verify_index(verification, node.path, digests)
    verification.files = sum(isinstance(found, str) for found in digests.values())
    verification.differences = list(dict.fromkeys(verification.differences))
    return verification


def unchanged_chain(path: Path, but: str) -> Node:
    """The chain behind a verdict, every file of it re-hashed.

    Args:
        path: the verdict's folder or manifest.
        but: what is not done where something was changed, for the message.

    Raises:
        ManifestError: anything in the chain is not as it was written.
    """
    root = read_chain(path)
    differences = verify_chain(root).differences
    if differences:
        raise ManifestError(
            f"the chain behind this verdict is not as it was written, so {but}",
            where=str(root.path),
            found="\n".join(f"{found.path}: {found.what}" for found in differences[:SHOWN_DIFFERENCES]),
            help=f"`assay verify {root.folder}` names every difference",
        )
    return root


def _unreadable(path: Path, error: ManifestError) -> Difference:
    problem = error.problems[0]
    return Difference(shown(path), problem.what, problem.expected, problem.found)


def _verify_stage(
    verification: Verification, node: Node, manifest: Manifest, digests: dict[Path, str | OSError]
) -> None:
    report = verification.differences
    expected = stage_fingerprint(manifest.stage, manifest.config, manifest.inputs, manifest.code)
    if manifest.fingerprint != expected:
        what = "the fingerprint is not that of its own fields"
        report.append(Difference(shown(node.path), what, expected, manifest.fingerprint))
    written = {MANIFEST_NAME}
    intact = True
    for entry in manifest.files:
        written.add(entry.path)
        intact &= _compare(verification, node.folder / entry.path, entry.sha256, digests)
    for path in sorted(p for p in node.folder.rglob("*") if not p.is_dir()):
        if path.relative_to(node.folder).as_posix() not in written:
            intact = False
            report.append(Difference(shown(path), "not in the manifest", "no such file"))
    for link in node.links:
        _verify_link(verification, manifest, link, digests)
    if intact:
        report.extend(Difference(shown(node.path), what) for what in recheck(manifest, node.folder))
    verification.notes.extend(f"{shown(node.folder)}: {note}" for note in manifest.provenance.notes)


def _verify_index(verification: Verification, path: Path, digests: dict[Path, str | OSError]) -> None:
    """Hash every file that a header of an index names."""
    try:
        header = read_header(path)
    except UserError as error:
        problem = error.problems[0]
        verification.differences.append(Difference(shown(path), problem.what, problem.expected, problem.found))
        return
    _digest(verification, path, digests)
    for segment in header.segments:
        for entry in segment.files:
            _compare(verification, path.parent / segment.name / entry.path, entry.sha256, digests)


def _verify_link(
    verification: Verification, manifest: Manifest, link: Link, digests: dict[Path, str | OSError]
) -> None:
    child = link.node
    if child.error:
        verification.differences.append(_unreadable(child.path, child.error))
        return
    if child.manifest is None:
        _compare(verification, child.path, link.ref.sha256, digests)
        return
    found = _digest(verification, child.path, digests)
    if found == link.ref.sha256:
        return
    if child.manifest.content_digest == link.ref.content:
        verification.notes.append(f"{shown(child.folder)}: rebuilt with the same bytes after {manifest.stage} used it")
        return
    what = f"not the {link.ref.role} that {manifest.stage} used"
    verification.differences.append(Difference(shown(child.path), what, f"sha256 {link.ref.sha256}", f"sha256 {found}"))


def _compare(verification: Verification, path: Path, expected: str, digests: dict[Path, str | OSError]) -> bool:
    found = _digest(verification, path, digests)
    if found == expected:
        return True
    if isinstance(found, OSError):
        what = "missing" if isinstance(found, FileNotFoundError) else "cannot be read"
        seen = found.strerror or str(found)
    else:
        what, seen = "changed", f"sha256 {found}"
    verification.differences.append(Difference(shown(path), what, f"sha256 {expected}", seen))
    return False


def _digest(verification: Verification, path: Path, digests: dict[Path, str | OSError]) -> str | OSError:
    """Digest of a file, computed once for all the stages that name it."""
    if path not in digests:
        try:
            if path.exists() and not path.is_file():
                raise OSError(22, "not a regular file")  # a device or a pipe would never end
            verification.bytes += path.stat().st_size
            digests[path] = file_digest(path)
        except OSError as error:
            digests[path] = error
    return digests[path]
