"""A finished release in a folder of the user's own, from which the chain is found as from its first place."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from schemas.atomic import partial_folder, readable_disk_errors
from schemas.errors import UserError
from schemas.manifest import MANIFEST_NAME, file_problems, write_manifest
from schemas.stage import Finished


def require_free(target: Path) -> None:
    """Refuse a folder that holds something, before anything is exported.

    Args:
        target: where a release is to be copied.

    Raises:
        UserError: it is there already and not empty, lies in a finished result, or its folder does not exist.
    """
    place = Path(os.path.abspath(target))
    partial = place.parent / f"{place.name}.partial"
    for path in (place, partial):
        if path.is_symlink() or (path.exists() and not path.is_dir()):
            raise UserError("the release would replace a file", where=str(path), help="name a folder that is not there")
    for path in (place, partial):
        if path.is_dir() and any(path.iterdir()):
            raise UserError(
                "the folder for the release is not empty",
                where=str(path),
                found=", ".join(sorted(one.name for one in path.iterdir())[:5]),
                expected="an empty folder, or none",
                help="name another one; a .partial folder that a stopped release left can be deleted",
            )
    if not place.parent.is_dir():
        raise UserError("the folder for the result does not exist", where=str(place.parent), help="create it first")
    inside = next((above for above in place.resolve().parents if (above / MANIFEST_NAME).is_file()), None)
    if inside is not None:
        raise UserError(
            "the folder for the release lies in a finished result, which must not change",
            where=str(target),
            found=str(inside),
            help="name a folder elsewhere",
        )


def copy_release(made: Finished, target: Path) -> Path:
    """Copy a release in one step, its inputs named as they are found from there.

    Args:
        made: the finished release.
        target: the folder; see `require_free`.

    Returns:
        The manifest of the copy.

    Raises:
        UserError: the folder is not free, or the disk refuses; then it is as it was.
    """
    require_free(target)
    place, home = Path(os.path.abspath(target)), made.folder.resolve()
    resolved = place.parent.resolve() / place.name
    inputs = tuple(
        ref.model_copy(update={"path": os.path.relpath(os.path.normpath(home / ref.path), resolved)})
        for ref in made.manifest.inputs
    )
    manifest = made.manifest.model_copy(update={"inputs": inputs})
    with partial_folder(resolved) as folder:
        with readable_disk_errors(folder):
            for entry in manifest.files:
                (folder / entry.path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(made.folder / entry.path, folder / entry.path)  # a script stays executable
        problems = file_problems(manifest, folder)
        if problems:
            raise UserError(
                "the copy is not what was released", where=str(target), found="\n".join(problems), help="try it again"
            )
        write_manifest(folder, manifest)
    return target / MANIFEST_NAME
