"""The files of a folder of documents, and their text: bounded, in a fixed order, never held up by one bad file."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from curate.readers.detect import FOREIGN
from schemas.errors import UserError
from schemas.terminal import printable

MAX_FILES = 20_000
"""Entries of a folder, with all folders below it."""
MAX_BYTES = 64 << 20
"""Of all documents together: some ten million words, which are searched in memory."""
HEAD_BYTES = 1 << 14
MOST_ODD = 0.1
"""Share of characters in the head of a file that are no text, from which on it is none."""
MARKS = (
    (b"\xef\xbb\xbf", "utf-8"),
    (b"\xff\xfe\x00\x00", "utf-32-le"),
    (b"\x00\x00\xfe\xff", "utf-32-be"),
    (b"\xff\xfe", "utf-16-le"),
    (b"\xfe\xff", "utf-16-be"),
)
"""First bytes of a file, and the encoding that they stand for; the longer ones first."""
PACKED = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")
"""First bytes of gzip, bzip2, xz and Zstandard: such files are not unpacked, since they may grow a thousandfold."""
BINARY = (*((magic, "a packed file") for magic in PACKED), *((magic, what) for magic, what, _ in FOREIGN))
ESCAPE = re.compile(r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)?|[@-Z\\^_])")
"""What a terminal acts on: colours, cursor movements, titles."""
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\ufeff\ufffe\uffff]")
LINE_END = re.compile(r"\r\n?|\x85|\u2028|\u2029")


class Unreadable(NamedTuple):
    """A file, or a line of one, that gives no passage."""

    path: str
    why: str


def shown(path: Path, root: Path) -> str:
    """A file as pages and sources name it: relative to the folder, with nothing that a terminal could act on."""
    relative = path.relative_to(root) if path != root else Path(path.name)
    return printable(os.fsencode(relative.as_posix()).decode("utf-8", "backslashreplace"))


def document_files(root: Path, unreadable: list[Unreadable]) -> Iterator[Path]:
    """Regular files below a folder, sorted by name; of a file, that file alone. Hidden names are left out.

    Links are followed, each folder and each file once.

    Args:
        root: an existing folder or file.
        unreadable: takes what cannot be opened.

    Raises:
        UserError: there are more than MAX_FILES entries.
    """
    waiting, seen, entries = [root], set[tuple[int, int]](), 0
    while waiting:
        path = waiting.pop()
        try:
            about = path.stat()
            if (about.st_dev, about.st_ino) in seen:
                continue
            seen.add((about.st_dev, about.st_ino))
            if stat.S_ISDIR(about.st_mode):
                names = []
                with os.scandir(path) as inside:
                    for entry in inside:
                        entries += 1
                        _check(entries <= MAX_FILES, root, f"more than {MAX_FILES:,} files")
                        names.append(entry.name)
                waiting += [path / name for name in sorted(names, reverse=True) if not name.startswith(".")]
            elif stat.S_ISREG(about.st_mode):
                yield path
            else:
                unreadable.append(Unreadable(shown(path, root), "neither a file nor a folder"))
        except OSError as error:
            unreadable.append(Unreadable(shown(path, root), os.strerror(error.errno or 0)))


class Budget:
    """How many bytes of documents may still be read."""

    def __init__(self, root: Path) -> None:
        self._root, self._left = root, MAX_BYTES

    def read(self, path: Path) -> bytes:
        """The bytes of a file.

        Raises:
            OSError: it cannot be read.
            UserError: with it, the documents have more than MAX_BYTES.
        """
        with path.open("rb") as file:
            data = file.read(self._left + 1)
        self._left -= len(data)
        _check(self._left >= 0, self._root, f"more than {MAX_BYTES >> 20} MiB of text")
        return data

    def head(self, path: Path) -> bytes:
        """The first bytes of a file, which count nothing: a file that is no text may be of any size.

        Raises:
            OSError: it cannot be read.
        """
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)


def _check(fine: bool, root: Path, found: str) -> None:
    if not fine:
        raise UserError(
            "the documents are too many to be searched",
            where=printable(str(root)),
            found=found,
            expected=f"at most {MAX_FILES:,} files with {MAX_BYTES >> 20} MiB of text",
            help="name a smaller folder, with the documents that questions are asked about",
        )


def no_text(head: bytes) -> str:
    """Why a file that begins with these bytes is no text, in words; empty for text."""
    known = next((what for magic, what in BINARY if head.startswith(magic)), "")
    if known:
        return f"{known}, not text"
    text = decoded(head)[0]
    odd = len(CONTROL.findall(ESCAPE.sub("", text))) + text.count("\ufffd")
    return "not text" if odd > MOST_ODD * max(len(text), 1) else ""


def decoded(data: bytes) -> tuple[str, bool]:
    """The text of a file, and whether some of its bytes had to be guessed or replaced.

    UTF-8, or what a byte order mark says. Where most bytes beyond ASCII are not UTF-8, they are read as
    Windows-1252; a few broken ones become U+FFFD.
    """
    mark, encoding = next((mark for mark in MARKS if data.startswith(mark[0])), (b"", "utf-8"))
    data = data[len(mark) :]
    try:
        return data.decode(encoding), False
    except UnicodeDecodeError:
        text = data.decode(encoding, "replace")
    if encoding == "utf-8" and 2 * text.count("\ufffd") > sum(char > "\x7f" for char in text):
        text = data.decode("cp1252", "replace")
    return text, True


def cleaned(text: str) -> str:
    r"""Text without controls and terminal escapes, its lines ended by ``\n``."""
    text = LINE_END.sub("\n", text)
    return text if text.isprintable() else CONTROL.sub(" ", ESCAPE.sub("", text))
