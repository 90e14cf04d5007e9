"""Finished parts of an evaluation that is under way, so that a killed one goes on where it was."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import polars as pl

from schemas.atomic import write_atomic
from schemas.base import canonical_json

PARTS = "parts"
ENGINE = "engine.json"
"""What answered the finished parts."""


def count_parts(folder: Path) -> int:
    """Finished parts in a folder that is being filled."""
    return len(list((folder / PARTS).glob("*.parquet")))


class Parts:
    """Tables kept in `<folder>/parts` until the evaluation is complete; those of another fingerprint are dropped.

    Args:
        folder: the folder that is being filled.
        fingerprint: of the evaluation.
    """

    def __init__(self, folder: Path, fingerprint: str) -> None:
        self._folder = folder / PARTS
        mark = self._folder / "fingerprint"
        if not mark.is_file() or mark.read_text("utf-8") != fingerprint:
            for path in folder.iterdir():
                shutil.rmtree(path) if path.is_dir() else path.unlink()
            self._folder.mkdir()
            write_atomic(mark, fingerprint.encode("ascii"))

    def _path(self, name: str) -> Path:
        return self._folder / f"{name}.parquet"

    def has(self, *names: str) -> bool:
        """Whether all of these parts are finished."""
        return all(self._path(name).is_file() for name in names)

    def read(self, name: str) -> pl.DataFrame:
        """A finished part."""
        return pl.read_parquet(self._path(name))

    def write(self, name: str, table: pl.DataFrame) -> None:
        """Keep a part."""
        buffer = io.BytesIO()
        table.write_parquet(buffer)
        write_atomic(self._path(name), buffer.getvalue())

    def answered_by(self, engine: dict[str, Any]) -> None:
        """Say what answers from now on. Finished parts of another engine are dropped: answers of two are not mixed."""
        path, said = self._folder / ENGINE, canonical_json(engine)
        if path.is_file() and path.read_bytes() != said:
            for part in self._folder.glob("*.parquet"):
                part.unlink()
        write_atomic(path, said)

    @property
    def engine(self) -> dict[str, Any]:
        """What answered the finished parts."""
        found: dict[str, Any] = json.loads((self._folder / ENGINE).read_bytes())
        return found

    def close(self) -> None:
        """Drop all parts, because the evaluation is complete."""
        shutil.rmtree(self._folder)
