"""Opening files: unpacking by suffix, the digest of what was read, and what cannot be read at all."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import mmap
import re
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import zstandard

from curate.spill import BLOCK_BYTES, Bytes, Spill, blocks_of
from schemas.base import digest
from schemas.errors import UnopenedError, UserError

STDIN = Path("-")
FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".csv": "csv", ".tsv": "tsv", ".parquet": "parquet"}
PACKINGS = (".gz", ".zst", ".bz2", ".xz")
BLANK = re.compile(rb"\s*")
WIDE_MARKS = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class Opened:
    """A file's bytes, unpacked; bytes on disk where the sources are large."""

    path: str
    format: str
    sha256: str
    size: int
    data: Bytes


def open_file(path: Path, spill: Spill | None = None) -> Opened:
    """Read a whole file and unpack it, into memory or onto disk; `-` reads standard input as JSONL.

    Raises:
        UserError: it cannot be opened or unpacked, or it is text in an encoding other than UTF-8 throughout.
    """
    if path == STDIN:
        given = sys.stdin.buffer.read()
        return Opened("-", "json" if _first_byte(given) == b"[" else "jsonl", digest(given), len(given), given)
    try:
        if spill is None:
            whole = path.read_bytes()
            packed, sha256 = cast("Bytes", whole), digest(whole)
        else:
            with path.open("rb") as file:
                packed, sha256 = spill.copy(blocks_of(file))
    except OSError as error:
        raise UnopenedError("the data file", path, error, help="check the path") from error
    data = _unpack(path, packed, spill)
    if data[:2] in WIDE_MARKS:
        raise UserError(
            "the data file is UTF-16",
            where=str(path),
            found="a UTF-16 byte order mark",
            expected="UTF-8",
            help=f"convert it: iconv -f UTF-16 -t UTF-8 {path.name}",
        )
    return Opened(str(path), _format(path, data), sha256, len(packed), data)


def _unpack(path: Path, packed: Bytes, spill: Spill | None) -> Bytes:
    unpacking = UNPACKING.get(path.suffix.lower())
    if unpacking is None:
        return packed
    try:
        blocks = unpacking(packed if isinstance(packed, mmap.mmap) else io.BytesIO(packed))
        return b"".join(blocks) if spill is None else spill.copy(blocks)[0]
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
        raise UserError(
            "the data file cannot be unpacked",
            where=str(path),
            found=str(error),
            expected=f"a whole {path.suffix} file",
            help="it is damaged or was cut off: fetch it again",
        ) from error


def _zst_blocks(file: IO[bytes]) -> Iterator[bytes]:
    packed = file.read(BLOCK_BYTES)
    while packed:
        frame = zstandard.ZstdDecompressor().decompressobj()
        while packed and not frame.eof:
            yield frame.decompress(packed)
            packed = b"" if frame.eof else file.read(BLOCK_BYTES)
        if not frame.eof:
            raise EOFError("the last frame is not complete")
        packed = frame.unused_data or file.read(BLOCK_BYTES)


UNPACKING: dict[str, Callable[[Any], Iterator[bytes]]] = {
    ".gz": lambda file: blocks_of(gzip.open(file)),
    ".bz2": lambda file: blocks_of(bz2.open(file)),
    ".xz": lambda file: blocks_of(lzma.open(file)),
    ".zst": _zst_blocks,
}
"""Suffix -> what gives the unpacked bytes of a packed file, block by block."""


def _format(path: Path, data: Bytes) -> str:
    """The format by suffix; a look at the content where the suffix says nothing or leaves a choice."""
    name = path.name.lower()
    for packing in PACKINGS:
        name = name.removesuffix(packing)
    found = FORMATS.get(Path(name).suffix)
    if data[:4] == b"PAR1":
        return "parquet"
    if found == "json" and not _first_byte(data) == b"[":
        # One object per line under the name of .json is common; one object over many lines is one record.
        first, last = _ends_of_first_line(data)
        return "jsonl" if last == b"}" or first != b"{" else "json"
    if found:
        return found
    return "json" if _first_byte(data) == b"[" and not path.suffix == ".jsonl" else "jsonl"


def _ends_of_first_line(data: Bytes) -> tuple[bytes, bytes]:
    """The first and the last byte of the first line that is not blank."""
    blank = BLANK.match(data)
    start = blank.end() if blank else 0
    end = data.find(b"\n", start)
    line = data[max(start, end - 64) : end] if end >= 0 else data[max(start, len(data) - 64) :]
    return data[start : start + 1], line.rstrip()[-1:]


def _first_byte(data: Bytes) -> bytes:
    return data[:4096].removeprefix(b"\xef\xbb\xbf").lstrip()[:1]
