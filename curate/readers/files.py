"""Opening files: unpacking by their first bytes, the digest of what was read, and what cannot be read at all."""

from __future__ import annotations

import bz2
import codecs
import io
import lzma
import mmap
import os
import stat
import sys
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, cast

import zstandard

from curate.readers.detect import HEAD_BYTES, PACKINGS, detect_format
from curate.spill import Bytes, Spill, blocks_of
from schemas.base import digest
from schemas.errors import UnopenedError, UserError

STDIN = Path("-")
PACKED_BLOCK_BYTES = 1 << 16
"""Packed bytes that are unpacked at a time: hostile ones grow a thousandfold."""
MAX_LAYERS = 3
UNPACKING: tuple[tuple[bytes, str, Callable[[], Any]], ...] = (
    (b"\x1f\x8b", "gz", lambda: zlib.decompressobj(wbits=31)),
    (b"BZh", "bz2", bz2.BZ2Decompressor),
    (b"\xfd7zXZ\x00", "xz", lzma.LZMADecompressor),
    (b"\x28\xb5\x2f\xfd", "zst", lambda: zstandard.ZstdDecompressor().decompressobj()),
)
"""First bytes of a packed file, its packing, and what unpacks one frame of it."""


@dataclass(frozen=True)
class Opened:
    """A file's bytes, unpacked; bytes on disk where the sources are large."""

    path: str
    format: str
    sha256: str
    size: int
    data: Bytes
    damage: str = ""
    """Why not all of a packed file could be unpacked; empty where all of it was."""


def open_file(path: Path, spill: Spill | None = None, *, whole: bool = True) -> Opened:
    """Read a whole file and unpack it, into memory or onto disk; `-` reads standard input.

    Args:
        path: the file.
        spill: where large sources lie.
        whole: refuse a packed file that is damaged or cut off; otherwise what it holds before that is taken.

    Raises:
        UserError: it cannot be opened or unpacked, or holds something that is no table and no text in UTF-8.
    """
    if path == STDIN:
        packed = cast("Bytes", sys.stdin.buffer.read())
        sha256 = digest(cast("bytes", packed))
    else:
        packed, sha256 = _read(path, spill)
    data, damage = packed, ""
    for _ in range(MAX_LAYERS):
        # The suffix may lie: a server that packs what it sends leaves files that are packed and not called so.
        unpacking = next((entry for entry in UNPACKING if data[: len(entry[0])] == entry[0]), None)
        if unpacking is None:
            break
        data, damage = _unpack(path, data, unpacking, spill)
        if damage and (whole or not data):
            raise UserError(
                "the data file cannot be unpacked",
                where=str(path),
                found=damage,
                expected=f"a whole {unpacking[1]} file",
                help="it is damaged or was cut off: fetch it again",
            )
    if path.suffix.lower() in PACKINGS and data is packed and not _is_text(data[:HEAD_BYTES]):
        found = f"its first bytes are not those of a {path.suffix} file"
        raise UserError("the data file cannot be unpacked", where=str(path), found=found, help="fetch it again")
    return Opened(str(path), detect_format(path, data), sha256, len(packed), data, damage)


def _is_text(head: bytes) -> bool:
    """Whether this begins like text in UTF-8; its last character may be cut off."""
    try:
        text = codecs.getincrementaldecoder("utf-8")().decode(head)
    except UnicodeDecodeError:
        return False
    return "\x00" not in text


def _read(path: Path, spill: Spill | None) -> tuple[Bytes, str]:
    try:
        mode = path.stat().st_mode
        if (stat.S_ISCHR(mode) or stat.S_ISBLK(mode)) and not path.samefile(os.devnull):
            raise UserError("the data file is a device", where=str(path), expected="a file", help="check the path")
        if spill is None:
            whole = path.read_bytes()
            return whole, digest(whole)
        with path.open("rb") as file:
            return spill.copy(blocks_of(file))
    except OSError as error:
        raise UnopenedError("the data file", path, error, help="check the path") from error


def _unpack(
    path: Path, packed: Bytes, unpacking: tuple[bytes, str, Callable[[], Any]], spill: Spill | None
) -> tuple[Bytes, str]:
    """What a packed file holds up to where it is damaged, and the damage in words."""
    damage = ""

    def blocks() -> Iterator[bytes]:
        nonlocal damage
        try:
            yield from _frames(packed if isinstance(packed, mmap.mmap) else io.BytesIO(packed), unpacking)
        except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError, zstandard.ZstdError) as error:
            damage = str(error)

    data = b"".join(blocks()) if spill is None else spill.copy(blocks())[0]
    return data, damage


def _decompressed(frame: Any, block: bytes) -> Iterator[bytes]:
    """What a block unpacks to; where it is damaged, what stands before the damage comes first.

    Raises:
        zlib.error: the block is damaged.
    """
    again = frame.copy() if hasattr(frame, "copy") else None
    try:
        yield frame.decompress(block)
    except zlib.error:
        if again is not None:
            for at in range(len(block)):
                yield again.decompress(block[at : at + 1])
        raise


def _frames(file: IO[bytes] | mmap.mmap, unpacking: tuple[bytes, str, Callable[[], Any]]) -> Iterator[bytes]:
    """Every frame of a packed file, block by block; zeros behind a frame are padding.

    Raises:
        EOFError: the last frame is not whole.
        ValueError: other bytes stand behind a frame.
    """
    magic, packing, decompressor = unpacking
    file.seek(0)
    block = file.read(PACKED_BLOCK_BYTES)
    while block:
        if block[: len(magic)] != magic[: len(block)]:
            raise ValueError(f"bytes that are not {packing} follow the packed data")
        frame = decompressor()
        while block and not frame.eof:
            yield from _decompressed(frame, block)
            block = b"" if frame.eof else file.read(PACKED_BLOCK_BYTES)
        if not frame.eof:
            raise EOFError("the packed data is cut off")
        block = frame.unused_data.lstrip(b"\x00")
        while not block and (more := file.read(PACKED_BLOCK_BYTES)):
            block = more.lstrip(b"\x00")
