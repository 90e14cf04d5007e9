"""Disks that are full at some point of a command's writing, and folders that it may not write to."""

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.faults.phases import Phase, seeded
from tests.faults.theatre import PAGE, Tally, Theatre
from tests.faults.trees import fresh_copy

NOBODY = 65534
AMPLE = "size=256m"


class NoSmallDisk(Exception):
    """This user may mount nothing here."""


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system in memory, of a size that `resize` changes.

    Raises:
        NoSmallDisk: it cannot be mounted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", AMPLE, "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        raise NoSmallDisk
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def resize(disk: Path, room: int | None) -> None:
    """Leave so many bytes of room on a small disk; null for ample."""
    used = os.statvfs(disk)
    pages = used.f_blocks - used.f_bfree + (room or 0) // PAGE
    size = AMPLE if room is None else f"size={pages * PAGE}"
    subprocess.run(["mount", "-o", f"remount,{size}", str(disk)], check=True)


def fill_disk(theatre: Theatre, phase: Phase, times: int) -> Tally:
    """Run a command on a disk with too little room, at several sizes; then make room, and run it again.

    Raises:
        NoSmallDisk: none can be mounted.
    """
    forks, tally = theatre.forks(phase), Tally("disk full", phase.name)
    known = theatre.undisturbed(phase, forks)
    sizes = seeded("disk", phase.name)
    with small_disk(known.work.with_name("disk")) as disk:
        for number in range(times):
            folder = fresh_copy(known.scene, disk / "work")
            room = sizes.randrange(known.growth // PAGE) * PAGE if number else 0
            resize(disk, room)
            tally.tried += 1
            tally.said(known.run(forks, folder), 2, "the disk is full", "database or disk is full")
            known.look(folder, tally, f"with {room} bytes of room")
            resize(disk, None)
            known.check(known.run(forks, folder), folder, tally, f"the run after {room} bytes of room")
    return tally


def refuse_writing(theatre: Theatre, phase: Phase) -> Tally:
    """Run a command in a folder that its user may only read; then let it write, and run it again."""
    forks, tally = theatre.forks(phase), Tally("read-only folder", phase.name)
    known = theatre.undisturbed(phase, forks)
    folder = fresh_copy(known.scene, known.work)
    user = NOBODY if os.geteuid() == 0 else None  # root may write anywhere
    environment = {"HOME": "/nonexistent"} if user else {}
    _allow(folder, user, writing=False)
    tally.tried += 1
    tally.said(known.run(forks, folder, user=user, environment=environment), 2, "no permission to write")
    _allow(folder, user, writing=True)
    known.check(known.run(forks, folder), folder, tally, "with permission")
    return tally


def _allow(folder: Path, user: int | None, *, writing: bool) -> None:
    for path in (folder, *folder.rglob("*")):
        if user is not None:
            os.chown(path, user, -1)
        path.chmod((0o755 if writing else 0o555) if path.is_dir() else 0o644)
