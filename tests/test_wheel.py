"""The wheel holds what the checkout holds, and runs from anywhere."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("schemas", "curate", "train", "evals")
pytestmark = pytest.mark.xdist_group("wheel")  # one worker, one build
LEFT_OUT = shutil.ignore_patterns("__pycache__", "*.pyc", "runs")


def run(*command: object, cwd: Path, expected: int = 0) -> str:
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in command], cwd=cwd, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == expected, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """Built from a copy, so that neither build/ nor metadata appears in the checkout; no isolation, so no network."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for room in ROOMS:
        shutil.copytree(ROOT / room, source / room, ignore=LEFT_OUT)
    for name in ("assay.py", "pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, source / name)
    (source / "training_notes").mkdir()
    (source / "training_notes" / "__init__.py").touch()
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, source, cwd=out)
    (built,) = out.glob("assay-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder of commands of a fresh environment: our wheel, and the dependencies of this one by a path file."""
    target = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", target, cwd=target)
    python = target / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=target)
    site = run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=target).strip()
    dependencies = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (Path(site) / "dependencies.pth").write_text("\n".join(sorted(dependencies)), encoding="utf-8")
    return target / "bin"


def names_in(wheel: Path) -> list[str]:
    return [name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name]


def test_top_level_is_exactly_ours(wheel):
    assert {name.split("/")[0] for name in names_in(wheel)} == {"assay.py", *ROOMS}


def test_every_file_of_a_room_travels(wheel):
    on_disk = {
        path.relative_to(ROOT).as_posix()
        for room in ROOMS
        for path in (ROOT / room).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert on_disk - set(names_in(wheel)) == set()


def test_licence_travels(wheel):
    assert [name for name in zipfile.ZipFile(wheel).namelist() if name.endswith("licenses/LICENSE")] != []


def test_command_runs_from_another_folder(installed, tmp_path):
    assert "Usage: assay" in run(installed / "assay", "--help", cwd=tmp_path)


def test_rooms_come_from_the_wheel(installed, tmp_path):
    code = f"import {', '.join(ROOMS)}; print(*(room.__file__ for room in ({', '.join(ROOMS)})), sep='\\n')"
    places = run(installed / "python", "-c", code, cwd=tmp_path).split()
    assert [Path(place).is_relative_to(installed.parent) for place in places] == [True] * len(ROOMS)


def test_audit_finds_its_data_files(installed, tmp_path):
    turns = '{"role": "user", "content": "Name a colour."}, {"role": "assistant", "content": "Blue."}'
    (tmp_path / "rows.jsonl").write_text(f'{{"messages": [{turns}]}}\n' * 2, encoding="utf-8")
    assert "DUP201" in run(installed / "assay", "audit", "rows.jsonl", cwd=tmp_path)
