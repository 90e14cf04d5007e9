"""The strict model that everything on disk derives from, canonical JSON, and digests."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

CHUNK_BYTES = 1 << 20

PathText = Annotated[str, Field(min_length=1, pattern=r"^[^\x00]*$")]
"""A path as text: neither empty nor with the NUL that no file system takes."""

Share = Annotated[float, Field(ge=0.0, le=1.0)]
"""A fraction in [0, 1]."""
Seed = Annotated[int, Field(ge=0, lt=1 << 32)]
"""What every generator of random numbers takes."""
Count = Annotated[int, Field(ge=1, lt=1 << 31)]
"""At least one of something."""


class Strict(BaseModel):
    """A frozen model that refuses unknown fields; field docstrings become schema descriptions."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)


def canonical_json(value: Any) -> bytes:
    """UTF-8 JSON with sorted keys and no spaces: equal values give equal bytes.

    Raises:
        ValueError: the value holds NaN or an infinity, which JSON cannot carry.
        TypeError: the value holds something that JSON cannot carry.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "surrogatepass")


def digest(data: bytes) -> str:
    """sha256 of the bytes, as 64 hex digits."""
    return hashlib.sha256(data).hexdigest()


def fingerprint(value: Any) -> str:
    """sha256 of the canonical JSON of a value, as 64 hex digits."""
    return digest(canonical_json(value))


def file_digest(path: Path) -> str:
    """sha256 of a file's bytes, read in pieces of 1 MiB.

    Raises:
        OSError: the file cannot be read.
    """
    state = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(CHUNK_BYTES):
            state.update(piece)
    return state.hexdigest()


def folder_digest(folder: Path) -> str:
    """One sha256 of all files below a folder, with their names, as 64 hex digits.

    Raises:
        OSError: a file cannot be read.
    """
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    return fingerprint([[path.relative_to(folder).as_posix(), file_digest(path)] for path in found])
