"""Running one stage: same fingerprint -> verified and returned; otherwise filled, hashed, and published in one step."""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from schemas.atomic import TargetExistsError, clear_lock, partial_folder
from schemas.base import file_digest
from schemas.errors import ManifestError, UserError
from schemas.manifest import (
    MANIFEST_NAME,
    InputRef,
    Manifest,
    Provenance,
    list_files,
    open_stage,
    stage_fingerprint,
    write_manifest,
)

SOURCE_SUFFIXES = {".py", ".yaml", ".jinja"}
HEX_IN_NAME = 12


@dataclass(frozen=True)
class Stage:
    """What a stage is about to do; its fingerprint decides where the result lives."""

    stage: str
    name: str
    config: dict[str, Any]
    config_given: dict[str, Any]
    inputs: tuple[InputRef, ...]
    code: str
    root: Path
    """The `runs` folder."""
    packages: tuple[str, ...] = ()
    """Distributions whose versions provenance records."""
    seeds: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def fingerprint(self) -> str:
        """sha256 of what determines the result."""
        return stage_fingerprint(self.stage, self.config, self.inputs, self.code)

    @property
    def folder(self) -> Path:
        """Where the finished result lives."""
        return stage_folder(self.root, self.stage) / f"{self.name}-{self.fingerprint[:HEX_IN_NAME]}"

    def place_of(self, ref: InputRef) -> Path:
        """Where an input lies, also while the result's own folder does not exist, which its path starts from."""
        return Path(os.path.normpath(self.folder / ref.path))


@dataclass(frozen=True)
class Finished:
    """A stage folder that is complete and verified."""

    folder: Path
    manifest: Manifest
    reused: bool
    """True when an earlier run with the same fingerprint was verified and returned."""

    @property
    def path(self) -> Path:
        """The manifest's path, which the next stage takes."""
        return self.folder / MANIFEST_NAME


def stage_folder(root: Path, stage: str) -> Path:
    """The folder that holds all results of a stage, `runs/<stage>`."""
    return root / stage


def inputs_from(root: Path, stage: str) -> Path:
    """The folder that the paths of a stage's inputs start from, before the result's own name is known.

    A manifest names its inputs relative to its own folder, and all results of a stage lie side by side.
    """
    return stage_folder(root, stage) / "result"


def run_stage(
    stage: Stage,
    fill: Callable[[Path], dict[str, int]],
    *,
    resume: bool = False,
    rehash: bool = False,
    device: Callable[[], str] | None = None,
) -> Finished:
    """Return the finished stage, running `fill(folder) -> counts` only if no verified result exists.

    Args:
        stage: what is done.
        fill: does it.
        resume: whether what a killed run left in the folder is kept for `fill`.
        rehash: whether the inputs are hashed once more in the end, because `fill` reads them more than once, or by
            libraries that do not say what they read.
        device: asked once the stage is filled: the class of device that computed; null says cpu.

    Raises:
        ManifestError: a folder of this fingerprint exists and was changed.
        UserError: the folder is held by another process, the disk refuses, or an input changed meanwhile.
    """
    if stage.folder.exists():
        return _made_before(stage)
    _require_inputs(stage)
    started, clock = datetime.now(UTC), time.monotonic()
    try:
        with partial_folder(stage.folder, resume=resume) as folder:
            counts = fill(folder)
            if rehash:
                _require_unchanged(stage, folder)
            manifest = Manifest(
                stage=stage.stage,
                name=stage.name,
                fingerprint=stage.fingerprint,
                code=stage.code,
                config=stage.config,
                config_given=stage.config_given,
                inputs=stage.inputs,
                files=list_files(folder),
                counts=counts,
                provenance=_provenance(stage, started, time.monotonic() - clock, device() if device else "cpu"),
            )
            write_manifest(folder, manifest)
    except TargetExistsError:
        return _made_before(stage)
    return Finished(stage.folder, manifest, reused=False)


def _made_before(stage: Stage) -> Finished:
    manifest, folder = open_stage(stage.folder, stage.stage)
    if manifest.fingerprint != stage.fingerprint:
        raise ManifestError(
            "a folder of this name holds another result",
            where=str(folder),
            found=manifest.fingerprint,
            expected=stage.fingerprint,
            help="rename or delete that folder, and run the command again",
        )
    clear_lock(folder)
    return Finished(folder, manifest, reused=True)


def _require_inputs(stage: Stage) -> None:
    for ref in stage.inputs:
        path = stage.place_of(ref)
        if not path.exists():
            raise UserError(
                f"an input of the stage {stage.stage!r} cannot be found",
                where=str(path),
                found=f"role {ref.role!r}, recorded as {ref.path!r}",
                help="it was there a moment ago; restore it and run the command again",
            )


def _require_unchanged(stage: Stage, folder: Path) -> None:
    """Throw away what was made of inputs that are not those that the result would name: nobody may go on with it."""
    changed = [str(place) for ref in stage.inputs if _identity(place := stage.place_of(ref), ref) != ref.identity]
    if changed:
        shutil.rmtree(folder)
        raise UserError(
            "an input changed while it was being used",
            where=", ".join(changed[:5]),
            help="wait until nothing writes to it, and run the command again; nothing was published",
        )


def _identity(path: Path, ref: InputRef) -> str:
    try:
        return file_digest(path) if ref.content is None else open_stage(path)[0].content_digest
    except (OSError, ManifestError):
        return ""


def _provenance(stage: Stage, started: datetime, seconds: float, device: str) -> Provenance:
    return Provenance(
        started=started.isoformat(timespec="seconds"),
        seconds=round(seconds, 3),
        command=(Path(sys.argv[0]).name, *sys.argv[1:]),
        python=platform.python_version(),
        packages={name: importlib.metadata.version(name) for name in stage.packages},
        git=_git_state(),
        device=device,
        seeds=stage.seeds,
        notes=stage.notes,
    )


def _git_state() -> dict[str, Any] | None:
    def git(*words: str) -> str | None:
        try:
            # Without the option `status` writes the index: killed meanwhile, it would leave the lock of a commit.
            done = subprocess.run(
                ["git", "--no-optional-locks", *words], capture_output=True, text=True, timeout=10, check=False
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    commit = git("rev-parse", "HEAD")
    return None if commit is None else {"commit": commit, "dirty": bool(git("status", "--porcelain"))}


def code_digest(rooms: Iterable[str]) -> str:
    """sha256 over the sources of the given rooms (`schemas`, `curate`, ...): the "code version" of a fingerprint."""
    state = hashlib.sha256()
    for room in sorted(rooms):
        spec = importlib.util.find_spec(room)
        if spec is None or not spec.submodule_search_locations:
            raise ModuleNotFoundError(room)
        base = Path(next(iter(spec.submodule_search_locations)))
        for path in sorted(p for p in base.rglob("*") if p.suffix in SOURCE_SUFFIXES and p.is_file()):
            state.update(f"{room}/{path.relative_to(base).as_posix()}\0".encode())
            state.update(path.read_bytes())
    return state.hexdigest()


def require(stage: Stage, command: str) -> Finished:
    """The finished, re-hashed result that another command must have made.

    Args:
        stage: what is needed, as its planner describes it.
        command: the command that makes it, for the message.

    Raises:
        UserError: it was not made yet with this config, these inputs and this version.
        ManifestError: it was changed since.
    """
    if not stage.folder.exists():
        others = sorted(path.name for path in stage.folder.parent.glob(f"{stage.name}-*") if path.suffix != ".partial")
        raise UserError(
            f"there is no {stage.stage} result for this config, these inputs and this version of assay",
            where=str(stage.folder),
            found=f"only results of other configs or inputs: {', '.join(others)}" if others else "no result",
            help=f"run `assay {command}` first",
        )
    manifest, folder = open_stage(stage.folder, stage.stage)
    return Finished(folder, manifest, reused=True)
