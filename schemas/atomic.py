"""Files and folders that are either complete or absent.

A file is written beside its target, synced, and renamed. A stage folder is filled as `<folder>.partial`, its manifest
is written last, and the folder is renamed: a folder with a manifest is complete.
"""

from __future__ import annotations

import errno
import fcntl
import os
import platform
import re
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from glob import escape
from pathlib import Path

from schemas.errors import UserError

WRITING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG)
"""Errors of the system that only a write can meet."""

LEFTOVER = re.compile(r"\..+\.[0-9]+\.tmp")
"""Names that `write_atomic` gives to files before they are complete."""
SHORT = re.compile(r"[0-9]+ requested and [0-9]+ written|Invalid thrift: transport error")
"""What numpy and polars say of a full disk, in words of their own."""
HOLDER_CHARS = 300
"""Of what a lock says of the process that holds it."""


class TargetExistsError(UserError):
    """Another run made the folder while this one waited to begin."""


def sync(path: Path) -> None:
    """Flush a file or a folder to the disk, so that a later rename cannot outrun its content."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, data: bytes) -> None:
    """Replace a file in one step; readers see the old bytes or the new ones, never a part.

    Raises:
        UserError: the disk is full, or the folder cannot be written.
    """
    _publish(path, data, os.replace, 0o666)


def write_new(path: Path, data: bytes, mode: int) -> None:
    """Make a file in one step; one that is there stays as it is.

    Args:
        path: of the file.
        data: its bytes.
        mode: who may read and write it, from its first moment on.

    Raises:
        UserError: there is something of this name, the disk is full, or the folder cannot be written.
    """
    _publish(path, data, os.link, mode)


def _publish(path: Path, data: bytes, name: Callable[[Path, Path], None], mode: int) -> None:
    temporary = _beside(path)
    with readable_disk_errors(path):
        _clear_killed(path)
        handle = _locked(temporary, mode)
        try:
            with os.fdopen(os.dup(handle), "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            name(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
            os.close(handle)
        sync(path.parent)


def refuse_to_replace(targets: Iterable[Path], sources: Iterable[Path]) -> None:
    """Make sure that what is to be written is none of the files that were read.

    Raises:
        UserError: one of the targets is one of the sources, under whatever name.
    """
    read = [source for source in sources if source.is_file()]
    for target in targets:
        if target.exists() and any(target.samefile(source) for source in read):
            raise UserError(
                "the result would replace the data that it is about",
                where=str(target),
                help="give the result another name; nothing was written",
            )


def _beside(path: Path) -> Path:
    return path.with_name(f".{path.name}.{os.getpid()}.tmp")


def clear_leftovers(folder: Path) -> None:
    """Remove what processes left that were killed while they wrote: nobody renames it any more, and it is no result.

    Args:
        folder: one that nobody else writes to.
    """
    for path in folder.rglob(".*.tmp"):
        if LEFTOVER.fullmatch(path.name) and not path.is_dir():
            path.unlink()


def _clear_killed(path: Path) -> None:
    """Remove what processes left that were killed while they wrote this file; one that lives holds a lock."""
    for left in path.parent.glob(f".{escape(path.name)}.*.tmp"):
        if LEFTOVER.fullmatch(left.name):
            _remove_unheld(left)


def _remove_unheld(path: Path) -> None:
    with suppress(OSError):  # somebody else's, or gone meanwhile: it is in nobody's way
        handle = os.open(path, os.O_RDWR | os.O_NOFOLLOW)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()
        finally:
            os.close(handle)


@contextmanager
def readable_disk_errors(path: Path, *, only_named: bool = False, chosen: str = "with --out") -> Iterator[None]:
    """Turn a full disk or a refused write into an error that says what to do.

    Only what concerns writing at or under `path` is turned: a file that cannot be read passes as it is. Libraries
    written in Rust (polars, safetensors) raise errors of their own that quote the system's words.

    Args:
        path: the file or folder that is written.
        only_named: let errors pass that name no file, because the block does more than write.
        chosen: how a person chooses another folder, in words.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.errno is not None:
            if error.errno not in WRITING and not (_concerns(error, path) if error.filename else not only_named):
                raise
            raise disk_error(path, error, chosen) from error
        for code in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            if os.strerror(code) in str(error) or (SHORT.search(str(error)) and code == errno.ENOSPC):
                raise disk_error(path, OSError(code, os.strerror(code)), chosen) from error
        raise


def _concerns(error: OSError, path: Path) -> bool:
    """Whether the error names the path, a file under it or beside it, or one of the folders above it."""
    whole = path.absolute()
    given = (error.filename, error.filename2)
    named = [Path(os.fsdecode(name)).absolute() for name in given if isinstance(name, str | bytes | os.PathLike)]
    return any(name == _beside(whole) or name.is_relative_to(whole) or whole.is_relative_to(name) for name in named)


def disk_error(path: Path, error: OSError, chosen: str = "with --out") -> UserError:
    """The error a person sees for an operating-system error met while writing under `path`."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return UserError(
            "the disk is full; nothing was published",
            where=str(path),
            help=f"free some space, or choose another folder {chosen}, and run the same command again",
        )
    if error.errno == errno.EFBIG:
        return UserError(
            "a file would be larger than this disk or account allows; nothing was published",
            where=str(path),
            help=f"raise the limit (ulimit -f), or choose a folder on another disk {chosen}",
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return UserError(
            "no permission to write",
            where=str(path),
            found=os.strerror(error.errno),
            help=f"choose a folder that you can write to {chosen}",
        )
    if error.errno in (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ENOTEMPTY):
        return UserError(
            "something else stands in the way of what is to be written",
            where=str(path),
            found=str(error),
            help=f"move it away, or choose another place {chosen}",
        )
    return UserError("writing failed", where=str(path), found=str(error), help=f"choose another place {chosen}")


def _taken(target: Path) -> bool:
    """Whether something stands there; a rename replaces an empty folder."""
    return target.exists() and not (target.is_dir() and next(target.iterdir(), None) is None)


@contextmanager
def partial_folder(target: Path, *, resume: bool = False) -> Iterator[Path]:
    """Give `<target>.partial` to fill; on success sync it and rename it to `target`.

    An error leaves no partial folder behind unless `resume` is set: then the next call finds it as it was left.
    A second process on the same target is refused while the first one lives.

    Raises:
        TargetExistsError: another process has made the folder meanwhile.
        UserError: another process holds the folder, the disk is full, or the folder cannot be written.
    """
    partial = target.with_name(target.name + ".partial")
    with readable_disk_errors(partial):
        target.parent.mkdir(parents=True, exist_ok=True)
    with exclusive(target):
        if _taken(target):
            raise TargetExistsError(
                "another run has made this folder meanwhile",
                where=str(target),
                help="nothing was written; it is complete, or give another name",
            )
        try:
            with readable_disk_errors(partial):
                if not resume and (partial.is_symlink() or partial.is_file()):
                    partial.unlink()
                elif not resume and partial.exists():
                    shutil.rmtree(partial)
                partial.mkdir(exist_ok=True)
                clear_leftovers(partial)
            with readable_disk_errors(partial, only_named=True):
                yield partial
            with readable_disk_errors(partial):
                for path in sorted(partial.rglob("*")):
                    sync(path)
                sync(partial)
                os.replace(partial, target)
                sync(target.parent)
        except BaseException:
            if not resume:
                shutil.rmtree(partial, ignore_errors=True)
            raise


@contextmanager
def exclusive(target: Path) -> Iterator[None]:
    """Hold a lock for a stage folder; the system releases it if the process dies.

    Raises:
        UserError: another process holds it.
    """
    lock_path = _lock_of(target)
    with readable_disk_errors(lock_path):
        try:
            handle = _locked(lock_path)
        except BlockingIOError as error:
            raise UserError(
                "another assay run is writing this folder",
                where=str(target),
                found=f"held by {_holder(lock_path)}",
                help="wait for it to end, or stop it, and run the command again",
            ) from error
    try:
        with readable_disk_errors(lock_path):
            os.ftruncate(handle, 0)
            os.pwrite(handle, _this_process().encode("utf-8", "replace")[:HOLDER_CHARS], 0)
        yield
    finally:
        lock_path.unlink(missing_ok=True)
        os.close(handle)


def clear_lock(target: Path) -> None:
    """Remove the lock that a killed process left beside a folder that is complete."""
    lock_path = _lock_of(target)
    if lock_path.exists():
        _remove_unheld(lock_path)


def _lock_of(target: Path) -> Path:
    return target.with_name(f".{target.name}.lock")


def _this_process() -> str:
    """What another one needs to know to find this process."""
    command = " ".join((Path(sys.argv[0]).name, *sys.argv[1:]))
    began = datetime.now(UTC).isoformat(timespec="seconds")
    return f"process {os.getpid()} on {platform.node()} since {began}: {command}"


def _holder(lock_path: Path) -> str:
    try:
        said = lock_path.read_bytes()[:HOLDER_CHARS].decode("utf-8", "replace")
    except OSError:
        said = ""
    return said or "a process that has just begun, or just ended"


def _locked(path: Path, mode: int = 0o644) -> int:
    """Open a file, made if it is not there, and lock it.

    Raises:
        BlockingIOError: another process holds it.
        OSError: it cannot be opened.
    """
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, mode)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            raise
        # The former holder may have removed the file between our open and our lock: then we hold a file nobody sees.
        with suppress(FileNotFoundError):
            if os.fstat(handle).st_ino == path.stat().st_ino:
                return handle
        os.close(handle)
