"""The manifest of a stage folder: what went in, what came out, and how, each by digest.

`runs/<stage>/<name>-<12 hex of fingerprint>/manifest.json` is written last. The fingerprint covers the effective
config, the inputs' content and the digest of the sources; times and hosts stay outside it, in `provenance`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationError

from schemas.atomic import write_atomic
from schemas.base import PathText, Strict, file_digest, fingerprint
from schemas.errors import ManifestError, UserError

MANIFEST_NAME = "manifest.json"
SCHEMA = "assay/manifest/1"


def _inside(path: str) -> str:
    if Path(path).is_absolute() or ".." in Path(path).parts:
        raise ValueError("the path leads out of the stage folder")
    return path


class InputRef(Strict):
    """One input of a stage: a plain file, or another stage's manifest."""

    role: str
    """What it is to the stage: source, dataset, data_verdict, adapter, base_model, results, ..."""
    path: PathText
    """Relative to the folder of the manifest that names it."""
    sha256: str
    """Digest of the file's bytes."""
    content: str | None = None
    """For a manifest: its digest without provenance, equal for a rebuild with the same bytes. Null for plain files."""

    @property
    def identity(self) -> str:
        """The digest that enters the fingerprint of the stage."""
        return self.content or self.sha256


class FileEntry(Strict):
    """One file that the stage wrote."""

    path: Annotated[PathText, AfterValidator(_inside)]
    """Relative to the stage folder, and inside it."""
    bytes: int
    sha256: str


class Provenance(Strict):
    """Circumstances that do not change the result: outside the fingerprint."""

    started: str
    """UTC, ISO 8601."""
    seconds: float
    command: tuple[str, ...]
    python: str
    packages: dict[str, str]
    """Package -> version, for the packages that the stage used."""
    git: dict[str, Any] | None
    """`{"commit", "dirty"}` of the working directory, or null outside a repository."""
    device: str
    """Class of the device that computed, such as cpu or cuda; `endpoint` where another computer answered."""
    seeds: dict[str, int] = Field(default_factory=dict)
    notes: tuple[str, ...] = ()
    """Anything a reader must know, such as `unverified` for what was imported or `ungated` for an override."""


class Manifest(Strict):
    """`manifest.json`: the record of one finished stage."""

    schema_: Literal["assay/manifest/1"] = Field(default="assay/manifest/1", alias="schema")
    stage: str
    name: str
    fingerprint: str
    """sha256 of stage, effective config, inputs and code."""
    code: str
    """Digest of the sources that made the stage."""
    config: dict[str, Any]
    """Effective values."""
    config_given: dict[str, Any]
    """What the person wrote."""
    inputs: tuple[InputRef, ...]
    files: tuple[FileEntry, ...]
    counts: dict[str, int]
    provenance: Provenance
    digest: str = ""
    """sha256 of everything above, so that a changed byte in the manifest itself is found."""

    model_config = Strict.model_config | {"populate_by_name": True, "serialize_by_alias": True}

    def body(self, *without: str) -> dict[str, Any]:
        """The manifest as plain data, less its own digest and the fields named."""
        return self.model_dump(mode="json", exclude={"digest", *without})

    @property
    def content_digest(self) -> str:
        """Digest without provenance and without the inputs' paths: the same for a rebuild with the same bytes."""
        body = self.body("provenance", "inputs")
        return fingerprint(body | {"inputs": [[ref.role, ref.identity] for ref in self.inputs]})

    def to_bytes(self) -> bytes:
        """The file's bytes; there is exactly one serialisation of a manifest."""
        body = self.body()
        return json.dumps(body | {"digest": fingerprint(body)}, indent=1, ensure_ascii=False).encode("utf-8") + b"\n"


def stage_fingerprint(stage: str, config: dict[str, Any], inputs: Iterable[InputRef], code: str) -> str:
    """Identity of a stage's result: sha256 over stage, effective config, input contents and code."""
    return fingerprint([stage, config, sorted([ref.role, ref.identity] for ref in inputs), code])


def manifest_path(path: Path) -> Path:
    """Accept a stage folder or its manifest; give the manifest's path."""
    return path / MANIFEST_NAME if path.is_dir() else path


def read_manifest(path: Path) -> Manifest:
    """Read and check a manifest's own integrity (not its files).

    Raises:
        ManifestError: missing, unreadable, of another schema, or changed since it was written.
    """
    path = manifest_path(path)
    data = _read(path)
    try:
        raw = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ManifestError("the manifest is not JSON", where=str(path), found=str(error), help=_REBUILD) from error
    schema = raw.get("schema") if isinstance(raw, dict) else None
    if schema != SCHEMA:
        raise ManifestError(
            "this is not a manifest that this version of assay reads",
            where=str(path),
            found=f"schema {schema!r}",
            expected=f"schema {SCHEMA!r}",
            help="give the manifest.json of a folder under runs/",
        )
    try:
        manifest = Manifest.model_validate(raw)
    except ValidationError as error:
        detail = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors()[:5])
        raise ManifestError(
            "the manifest does not have the right fields", where=str(path), found=detail, help=_REBUILD
        ) from error
    if not _as_written(manifest, data):
        raise ManifestError(
            "the manifest was changed after it was written",
            where=str(path),
            found="bytes that do not hash to its own digest",
            expected=f"digest {manifest.digest[:16]} and the bytes that assay wrote",
            help=_REBUILD,
        )
    return manifest


def _as_written(manifest: Manifest, data: bytes) -> bool:
    """Whether the bytes are the one serialisation of the manifest; what JSON cannot carry, assay never wrote."""
    try:
        return manifest.to_bytes() == data
    except (ValueError, RecursionError):
        return False


_REBUILD = "restore the folder from a copy, or delete it and run the stage again"


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ManifestError(
            "the manifest cannot be opened",
            where=str(path),
            found=os.strerror(error.errno or 0),
            help="run the stage that makes it first; a folder without manifest.json is incomplete",
        ) from error


def file_problems(manifest: Manifest, folder: Path) -> list[str]:
    """Every difference between the folder and its manifest, in words; empty when the folder is as it was written."""
    problems = []
    for entry in manifest.files:
        path = folder / entry.path
        if not path.is_file():
            problems.append(f"{path}: missing ({entry.bytes:,} bytes expected)")
            continue
        found = file_digest(path)
        if found != entry.sha256:
            problems.append(
                f"{path}: sha256 {found[:16]}, the manifest says {entry.sha256[:16]} ({path.stat().st_size:,} bytes)"
            )
    known = {entry.path for entry in manifest.files} | {MANIFEST_NAME}
    strangers = sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())
    problems += [f"{folder / name}: not in the manifest" for name in strangers if name not in known]
    return problems


def open_stage(path: Path, stage: str | None = None) -> tuple[Manifest, Path]:
    """Read a manifest, re-hash every file of its folder, and give both.

    Raises:
        ManifestError: wrong stage, or anything differs from what the stage wrote.
    """
    path = manifest_path(path)
    manifest = read_manifest(path)
    if stage is not None and manifest.stage != stage:
        raise ManifestError(
            "this manifest is of another stage",
            where=str(path),
            found=f"stage {manifest.stage!r}",
            expected=f"stage {stage!r}",
            help=f"give the manifest of a folder under runs/{stage}/",
        )
    problems = file_problems(manifest, path.parent)
    if problems:
        raise ManifestError(
            "files do not match their manifest",
            where=str(path),
            found="\n          ".join(problems),
            expected="the bytes that the stage wrote",
            help=_REBUILD,
        )
    return manifest, path.parent


def input_file(role: str, path: Path, folder: Path) -> InputRef:
    """Reference a plain file as an input of the stage that will live in `folder`.

    Raises:
        UserError: its name is not UTF-8, so that no manifest can hold it.
        OSError: it cannot be read.
    """
    return InputRef(role=role, path=_recorded(path, folder), sha256=file_digest(path))


def input_stage(role: str, path: Path, folder: Path) -> InputRef:
    """Reference another stage by its manifest.

    Raises:
        ManifestError: it is missing, or is not the manifest that a stage wrote.
        UserError: its name is not UTF-8.
    """
    path = manifest_path(path)
    content = read_manifest(path).content_digest
    return InputRef(role=role, path=_recorded(path, folder), sha256=file_digest(path), content=content)


def _recorded(path: Path, folder: Path) -> str:
    relative = os.path.relpath(path, folder)
    try:
        relative.encode("utf-8")
    except UnicodeEncodeError as error:
        raise UserError(
            "the name of this file is not UTF-8",
            where=str(path),
            expected="a name that a manifest can hold, so that the file is found again",
            help="rename it",
        ) from error
    return relative


def list_files(folder: Path) -> tuple[FileEntry, ...]:
    """Every file under a folder with its size and digest, sorted by path."""
    found = sorted(path for path in folder.rglob("*") if path.is_file() and path != folder / MANIFEST_NAME)
    return tuple(
        FileEntry(path=path.relative_to(folder).as_posix(), bytes=path.stat().st_size, sha256=file_digest(path))
        for path in found
    )


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Write `manifest.json` into a folder, last of all its files."""
    write_atomic(folder / MANIFEST_NAME, manifest.to_bytes())
