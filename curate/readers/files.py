"""Opening files: unpacking by suffix, the digest of what was read, and what cannot be read at all."""

from __future__ import annotations

import bz2
import gzip
import lzma
import os
import sys
import zlib
from dataclasses import dataclass
from pathlib import Path

import zstandard

from schemas.base import digest
from schemas.errors import UserError

STDIN = Path("-")
FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet"}
PACKINGS = (".gz", ".zst", ".bz2", ".xz")
WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Opened:
    """A file's bytes, unpacked."""

    path: str
    format: str
    sha256: str
    size: int
    data: bytes


def open_file(path: Path) -> Opened:
    """Read a whole file and unpack it; `-` reads standard input as JSONL.

    Raises:
        UserError: it cannot be opened or unpacked, or it is text in an encoding other than UTF-8 throughout.
    """
    if path == STDIN:
        packed = sys.stdin.buffer.read()
        return Opened(
            "-", "jsonl" if not packed.lstrip().startswith(b"[") else "json", digest(packed), len(packed), packed
        )
    try:
        packed = path.read_bytes()
    except OSError as error:
        raise UserError(
            "the data file cannot be opened",
            where=str(path),
            found=os.strerror(error.errno or 0),
            help="check the path",
        ) from error
    data = _unpack(path, packed)
    if data.startswith(WIDE_MARKS):
        raise UserError(
            "the data file is UTF-16",
            where=str(path),
            found="a UTF-16 byte order mark",
            expected="UTF-8",
            help=f"convert it: iconv -f UTF-16 -t UTF-8 {path.name}",
        )
    return Opened(str(path), _format(path, data), digest(packed), len(packed), data)


def _unpack(path: Path, packed: bytes) -> bytes:
    try:
        match path.suffix.lower():
            case ".gz":
                return gzip.decompress(packed)
            case ".bz2":
                return bz2.decompress(packed)
            case ".xz":
                return lzma.decompress(packed)
            case ".zst":
                return _unpack_zst(packed)
            case _:
                return packed
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
        raise UserError(
            "the data file cannot be unpacked",
            where=str(path),
            found=str(error),
            expected=f"a whole {path.suffix} file",
            help="it is damaged or was cut off: fetch it again",
        ) from error


def _unpack_zst(packed: bytes) -> bytes:
    pieces = []
    while packed:
        frame = zstandard.ZstdDecompressor().decompressobj()
        pieces.append(frame.decompress(packed))
        if not frame.eof:
            raise EOFError("the last frame is not complete")
        packed = frame.unused_data
    return b"".join(pieces)


def _format(path: Path, data: bytes) -> str:
    """The format by suffix; a look at the content where the suffix says nothing or leaves a choice."""
    name = path.name.lower()
    for packing in PACKINGS:
        name = name.removesuffix(packing)
    found = FORMATS.get(Path(name).suffix)
    if data.startswith(b"PAR1"):
        return "parquet"
    if found == "json" and not _first_byte(data) == b"[":
        # One object per line under the name of .json is common; one object over many lines is one record.
        first = data.lstrip().partition(b"\n")[0].rstrip()
        return "jsonl" if first.endswith(b"}") or not first.startswith(b"{") else "json"
    if found:
        return found
    return "json" if _first_byte(data) == b"[" and not path.suffix == ".jsonl" else "jsonl"


def _first_byte(data: bytes) -> bytes:
    return data[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
