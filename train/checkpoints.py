"""Checkpoints that are either complete or ignored, so that a run killed at any moment can go on.

The trainer writes `checkpoint-N/`; when all of it is on the disk, `complete.json` with the digest of every file
follows, and only then older checkpoints go.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

from schemas.atomic import sync, write_atomic
from schemas.base import canonical_json, file_digest
from train.processes import is_main_process

PREFIX = "checkpoint-"
MARK = "complete.json"


def seal(checkpoint: Path, best_step: int | None = None) -> None:
    """Declare a checkpoint complete, and delete all others but the best so far and the one before.

    The one before is for a loss that jumps soon after: this checkpoint may hold the weights that jumped.

    Args:
        checkpoint: its folder.
        best_step: step of the checkpoint that stays beside it.
    """
    files = sorted(path for path in checkpoint.rglob("*") if path.is_file() and path.name != MARK)
    for path in files:
        sync(path)
    digests = {path.relative_to(checkpoint).as_posix(): file_digest(path) for path in files}
    write_atomic(checkpoint / MARK, canonical_json(digests))
    sync(checkpoint.parent)
    others = sorted((path for path in checkpoint.parent.glob(f"{PREFIX}*") if path != checkpoint), key=step_of)
    before = next((path for path in reversed(others) if (path / MARK).is_file()), None)
    for other in others:
        if other != before and step_of(other) != best_step:
            shutil.rmtree(other)


def discard(folder: Path, step: int) -> int:
    """Delete the checkpoints of a step and of all after it.

    Returns:
        The step of the last complete one that stays; 0 where none does.
    """
    kept = [path for path in folder.glob(f"{PREFIX}*") if step_of(path) < step and _is_complete(path)]
    for path in folder.glob(f"{PREFIX}*") if is_main_process() else ():
        if step_of(path) >= step:
            shutil.rmtree(path)
    return max(map(step_of, kept), default=0)


def latest(folder: Path) -> Path | None:
    """The complete checkpoint with the highest step, or None."""
    found = sorted(folder.glob(f"{PREFIX}*"), key=step_of, reverse=True)
    return next((checkpoint for checkpoint in found if _is_complete(checkpoint)), None)


def at_step(folder: Path, step: int) -> Path | None:
    """The complete checkpoint of a step, or None."""
    checkpoint = folder / f"{PREFIX}{step}"
    return checkpoint if _is_complete(checkpoint) else None


def step_of(checkpoint: Path) -> int:
    """Optimiser steps taken before this checkpoint; -1 for a folder that the trainer did not name."""
    number = checkpoint.name.removeprefix(PREFIX)
    return int(number) if number.isdecimal() else -1


def _is_complete(checkpoint: Path) -> bool:
    try:
        digests = json.loads((checkpoint / MARK).read_bytes())
        return all(file_digest(checkpoint / name) == found for name, found in digests.items())
    except (OSError, ValueError):
        return False
