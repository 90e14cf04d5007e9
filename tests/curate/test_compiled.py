"""Where compiled code is kept, whoever asks for it."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numba
import pytest

from curate.dedup.compiled import cache_folder, compiled


def test_kernels_of_several_threads_are_kept_in_the_cache_and_not_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = numba.config.CACHE_DIR

    def decorate(_: int) -> None:
        @compiled
        def twice(value: int) -> int:
            return 2 * value

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(decorate, range(2000)))
    assert list(tmp_path.iterdir()) == []
    assert cache_folder() is not None
    assert before == numba.config.CACHE_DIR


COMPILES = """
import sys
from curate.dedup.compiled import cache_folder, compiled

@compiled
def twice(value):
    return 2 * value

print(cache_folder(), twice(21))
"""


def compile_with(folder: Path, code: str = COMPILES, **environment: str) -> str:
    script = folder / "kernel.py"
    script.write_text(code, "utf-8")
    done = subprocess.run(
        [sys.executable, str(script)],
        env={"PATH": "", "PYTHONPATH": str(Path(__file__).resolve().parents[2])} | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("variable", ["NUMBA_CACHE_DIR", "XDG_CACHE_HOME"])
def test_where_nothing_can_be_kept_it_is_compiled_all_the_same(tmp_path, variable):
    (tmp_path / "file").write_bytes(b"")
    assert compile_with(tmp_path, **{variable: str(tmp_path / "file" / "inside")}) == "None 42"


def test_a_user_without_a_home_has_no_cache(tmp_path):
    nobody = "import pwd; pwd.getpwuid = {}.__getitem__\n"  # as in a container that runs as any number
    assert compile_with(tmp_path, nobody + COMPILES) == "None 42"


def test_a_disk_that_is_full_once_code_is_compiled_costs_only_the_keeping(tmp_path):
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
    kept = tmp_path / "kept"
    assert compile_with(tmp_path, limit + COMPILES, NUMBA_CACHE_DIR=str(kept)) == f"{kept} 42"
    assert not [path for path in kept.rglob("*") if path.is_file()]


def test_what_a_power_cut_emptied_is_made_again(tmp_path):
    kept = tmp_path / "kept"
    for suffix in ("nbi", "nbc", "none"):
        assert compile_with(tmp_path, NUMBA_CACHE_DIR=str(kept)) == f"{kept} 42"
        files = list(kept.rglob("*twice*.nb?"))
        assert len(files) == 2
        for path in files:
            if path.suffix == f".{suffix}":
                path.write_bytes(b"")
    assert all(path.stat().st_size for path in files)
