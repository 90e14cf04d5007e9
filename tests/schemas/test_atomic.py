import errno
import fcntl
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from schemas.atomic import (
    TargetExistsError,
    clear_lock,
    exclusive,
    partial_folder,
    refuse_to_replace,
    write_atomic,
    write_new,
)
from schemas.errors import ExitCode, UserError


def test_a_file_is_written_whole_and_leaves_nothing_beside_it(tmp_path: Path):
    path = tmp_path / "verdict.json"
    write_atomic(path, b"first")
    write_atomic(path, b"second")
    assert path.read_bytes() == b"second"
    assert os.listdir(tmp_path) == ["verdict.json"]


def test_a_reader_sees_the_old_bytes_or_the_new_ones_and_never_a_part(tmp_path):
    path, done = tmp_path / "results.json", threading.Event()
    contents = {bytes([value]) * 200_000 for value in b"ab"}
    write_atomic(path, b"a" * 200_000)

    def write():
        for turn in range(40):
            write_atomic(path, (b"b" if turn % 2 else b"a") * 200_000)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    seen = set()
    while not done.is_set():
        seen.add(path.read_bytes())
    writer.join()
    assert seen <= contents


@pytest.mark.parametrize(
    ("code", "what"),
    [
        (errno.ENOSPC, "the disk is full; nothing was published"),
        (errno.EDQUOT, "the disk is full; nothing was published"),
        (errno.EACCES, "no permission to write"),
        (errno.EROFS, "no permission to write"),
        (errno.EIO, "writing failed"),
    ],
)
def test_what_the_system_refuses_becomes_advice_and_the_old_file_stays(tmp_path, monkeypatch, code, what):
    path = tmp_path / "ledger.json"
    write_atomic(path, b"old")

    def refuse(_handle: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("schemas.atomic.os.fsync", refuse)
    with pytest.raises(UserError) as caught:
        write_atomic(path, b"new")
    assert caught.value.problems[0].what == what
    assert caught.value.exit_code is ExitCode.USAGE
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["ledger.json"]


KILLED_WRITE = """
import os, signal, sys
from pathlib import Path
import schemas.atomic
schemas.atomic.os.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
schemas.atomic.write_atomic(Path(sys.argv[1]), b"half")
"""


def test_what_a_killed_write_left_goes_with_the_next_one_and_what_another_writes_stays(tmp_path):
    path = tmp_path / "report.json"
    done = subprocess.run([sys.executable, "-c", KILLED_WRITE, str(path)], cwd=os.getcwd(), check=False)
    assert done.returncode == -signal.SIGKILL
    [left] = os.listdir(tmp_path)
    assert left.startswith(".report.json.")
    other = tmp_path / ".report.json.4711.tmp"
    with other.open("wb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        write_atomic(path, b"whole")
        assert sorted(os.listdir(tmp_path)) == [other.name, "report.json"]
    write_atomic(path, b"again")
    assert os.listdir(tmp_path) == ["report.json"]


KILLED_KEY = """
import os, signal, sys
from pathlib import Path
import schemas.atomic
schemas.atomic.os.link = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)
schemas.atomic.write_new(Path(sys.argv[1]), b"secret", 0o600)
"""


def test_a_new_file_is_whole_or_not_there_private_from_the_start_and_replaces_none(tmp_path):
    path = tmp_path / "eval.key"
    done = subprocess.run([sys.executable, "-c", KILLED_KEY, str(path)], cwd=os.getcwd(), check=False)
    assert done.returncode == -signal.SIGKILL
    [left] = tmp_path.iterdir()
    assert (left.name != path.name, left.stat().st_mode & 0o777) == (True, 0o600)
    write_new(path, b"key", 0o600)
    with pytest.raises(UserError, match="something else stands in the way"):
        write_new(path, b"another", 0o600)
    assert (path.read_bytes(), path.stat().st_mode & 0o777) == (b"key", 0o600)
    assert list(tmp_path.iterdir()) == [path]


def test_a_finished_folder_appears_in_one_step(tmp_path):
    target = tmp_path / "runs" / "curate" / "made"
    with partial_folder(target) as folder:
        (folder / "data").mkdir()
        (folder / "data" / "train.jsonl").write_bytes(b"{}\n")
        assert not target.exists()
        assert folder.name == "made.partial"
    assert (target / "data" / "train.jsonl").read_bytes() == b"{}\n"
    assert os.listdir(target.parent) == ["made"]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_an_error_or_an_interruption_leaves_nothing_behind(tmp_path, error):
    target = tmp_path / "made"

    def fail() -> None:
        with partial_folder(target) as folder:
            (folder / "half").write_bytes(b"")
            raise error

    with pytest.raises(error):
        fail()
    assert os.listdir(tmp_path) == []


def test_a_folder_that_may_resume_is_found_as_it_was_left(tmp_path):
    target = tmp_path / "made"

    def stop() -> None:
        with partial_folder(target, resume=True) as folder:
            (folder / "checkpoint").write_bytes(b"step 10")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stop()
    with partial_folder(target, resume=True) as folder:
        assert (folder / "checkpoint").read_bytes() == b"step 10"
    assert os.listdir(tmp_path) == ["made"]


def test_a_folder_that_may_not_resume_starts_empty(tmp_path):
    (tmp_path / "made.partial").mkdir()
    (tmp_path / "made.partial" / "half").write_bytes(b"")
    with partial_folder(tmp_path / "made") as folder:
        assert os.listdir(folder) == []


def test_a_full_disk_while_filling_is_said_once_and_leaves_nothing(tmp_path):
    def fill() -> None:
        with partial_folder(tmp_path / "made") as folder:
            (folder / "half").write_bytes(b"")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(UserError, match="the disk is full"):
        fill()
    assert os.listdir(tmp_path) == []


def test_a_full_disk_that_a_library_reports_in_its_own_way_is_told_the_same_way(tmp_path):
    def fill(error: Exception) -> None:
        with partial_folder(tmp_path / "made"):
            raise error

    for error in (
        RuntimeError("parquet: underlying IO error: No space left on device (os error 28)"),
        RuntimeError("parquet: File out of specification: Invalid thrift: transport error"),
        OSError("4896 requested and 2016 written"),
    ):
        with pytest.raises(UserError, match="the disk is full"):
            fill(error)
    with pytest.raises(RuntimeError, match="something else"):
        fill(RuntimeError("something else"))


def test_a_folder_without_permission_is_refused_with_its_path(tmp_path, monkeypatch):
    def refuse(*_args: object, **_settings: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "mkdir", refuse)
    with pytest.raises(UserError) as caught, partial_folder(tmp_path / "runs" / "made"):
        pass
    assert caught.value.problems[0].where == str(tmp_path / "runs" / "made.partial")


def _hold(target: Path, ready, kind: str) -> None:
    with exclusive(target):
        ready.set()
        time.sleep(60 if kind == "hang" else 0)


def test_a_second_process_is_refused_while_the_first_lives_and_let_in_when_it_is_killed(tmp_path):
    target, context = tmp_path / "made", multiprocessing.get_context("spawn")
    ready = context.Event()
    holder = context.Process(target=_hold, args=(target, ready, "hang"))
    holder.start()
    assert ready.wait(60)
    with pytest.raises(UserError) as caught, partial_folder(target):
        pass
    found = caught.value.problems[0].found
    assert re.fullmatch(
        rf"held by process {holder.pid} on \S+ since \d{{4}}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00: .+", found
    )
    holder.kill()
    holder.join()
    with partial_folder(target):
        pass
    assert os.listdir(tmp_path) == ["made"]


def test_a_lock_whose_file_was_removed_by_its_holder_is_taken_anew(tmp_path, monkeypatch):
    target, real = tmp_path / "made", fcntl.flock
    calls: list[int] = []

    def lock(handle: int, operation: int) -> None:
        real(handle, operation)
        if not calls:
            (tmp_path / ".made.lock").unlink()
        calls.append(handle)

    monkeypatch.setattr("schemas.atomic.fcntl.flock", lock)
    with exclusive(target):
        assert (tmp_path / ".made.lock").read_text().startswith(f"process {os.getpid()} ")
    assert len(calls) == 2


def test_a_folder_that_another_run_has_made_meanwhile_is_left_as_it_is(tmp_path):
    target = tmp_path / "made"
    with partial_folder(target) as folder:
        (folder / "data").write_bytes(b"first")
    with pytest.raises(TargetExistsError, match="meanwhile"), partial_folder(target):
        pytest.fail("it is filled a second time")
    assert (target / "data").read_bytes() == b"first"
    assert os.listdir(tmp_path) == ["made"]


def test_the_lock_of_a_killed_process_goes_and_that_of_a_living_one_stays(tmp_path):
    lock = tmp_path / ".made.lock"
    lock.write_text("process 4711")
    clear_lock(tmp_path / "made")
    assert not lock.exists()
    with exclusive(tmp_path / "made"):
        clear_lock(tmp_path / "made")
        assert lock.exists()


def test_a_file_that_cannot_be_read_is_not_reported_as_a_failed_write(tmp_path):
    with pytest.raises(FileNotFoundError), partial_folder(tmp_path / "runs" / "made"):
        (tmp_path / "source.jsonl").read_bytes()
    with (
        pytest.raises(UserError, match="something else stands in the way"),
        partial_folder(tmp_path / "made") as folder,
    ):
        folder.mkdir()
    assert os.listdir(tmp_path / "runs") == []


def test_an_error_without_a_name_is_a_failed_write_only_where_it_can_be_nothing_else(tmp_path):
    with pytest.raises(OSError, match="Input/output") as caught, partial_folder(tmp_path / "made"):
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    assert not isinstance(caught.value, UserError)
    with pytest.raises(UserError, match="disk is full"), partial_folder(tmp_path / "made"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_file_in_the_place_of_the_results_folder_is_named(tmp_path):
    (tmp_path / "runs").write_bytes(b"mine")
    with pytest.raises(UserError, match="something else stands in the way"), partial_folder(tmp_path / "runs" / "made"):
        pass
    assert (tmp_path / "runs").read_bytes() == b"mine"


def test_a_file_in_the_place_of_the_partial_folder_is_replaced(tmp_path):
    (tmp_path / "made.partial").write_bytes(b"left over")
    with partial_folder(tmp_path / "made") as folder:
        (folder / "ledger.json").write_bytes(b"{}")
    assert os.listdir(tmp_path) == ["made"]


def test_a_disk_that_has_no_room_for_the_lock_is_a_full_disk(tmp_path, monkeypatch):
    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("schemas.atomic.os.pwrite", refuse)
    with pytest.raises(UserError, match="disk is full"), exclusive(tmp_path / "made"):
        pass
    assert os.listdir(tmp_path) == []


def test_a_result_never_replaces_what_it_was_made_from(tmp_path):
    source, link = tmp_path / "rows.jsonl", tmp_path / "report.json"
    source.write_bytes(b"{}")
    link.symlink_to(source)
    for target in (source, link):
        with pytest.raises(UserError, match="would replace the data"):
            refuse_to_replace([target], [source])
    refuse_to_replace([tmp_path / "other.json"], [source, Path("-")])
