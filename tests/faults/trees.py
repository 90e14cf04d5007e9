"""What lies in a folder, and whether any of it is half of something."""

import hashlib
import shutil
from pathlib import Path

import polars as pl

from schemas.index import HEADER, read_index
from schemas.manifest import MANIFEST_NAME, open_stage

Tree = dict[str, str]
NOT_COMPARED = "responses"
"""Earlier answers lie in a database: what it says is part of the results, how its pages lie is not."""


def tree(folder: Path) -> Tree:
    """Every file and folder, hidden ones too -> digest of its bytes; of a manifest, without its circumstances.

    Raises:
        ManifestError, UserError: something that says it is complete is not.
    """
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if NOT_COMPARED in path.parts:
            continue
        if path.is_dir():
            found[f"{name}/"] = ""
        elif path.name == MANIFEST_NAME:
            found[name] = open_stage(path)[0].content_digest
        else:
            found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def differences(expected: Tree, found: Tree) -> list[str]:
    """Names that are missing, changed or new."""
    return sorted(name for name in {*expected, *found} if expected.get(name) != found.get(name))


def problems(folder: Path) -> list[str]:
    """Whatever can be taken for complete below a folder and is not; empty where a reader is safe.

    Work under way lies in folders called `*.partial`, which nobody reads.
    """
    found = []
    for path in sorted(folder.rglob("*")):
        if any(part.endswith(".partial") for part in path.relative_to(folder).parts):
            continue
        try:
            if path.name == MANIFEST_NAME:
                found += _lost_rows(path.parent)
            elif HEADER.fullmatch(path.name):
                read_index(path)
        except Exception as error:
            found.append(f"{path.relative_to(folder)}: {error}")
    return found


def _lost_rows(folder: Path) -> list[str]:
    """Whether rows in = kept + dropped, in the manifest's words and in the files themselves."""
    manifest, _ = open_stage(folder)
    if manifest.stage != "curate" or "rows_in" not in manifest.counts:
        return []
    counts = manifest.counts
    kept = sum(pl.read_parquet(path).height for path in (folder / "data").glob("*.parquet"))
    dropped = pl.read_parquet(folder / "dropped.parquet").height
    if (counts["rows_kept"], counts["rows_dropped"], counts["rows_in"]) == (kept, dropped, kept + dropped):
        return []
    return [f"{folder.name}: {counts} and {kept} rows kept + {dropped} dropped in its files"]


def fresh_copy(source: Path, target: Path) -> Path:
    """A folder anew, whatever was there."""
    shutil.rmtree(target, ignore_errors=True)
    return Path(shutil.copytree(source, target))
