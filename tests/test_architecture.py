"""The frame that no change may bend: who imports whom, how large things grow, what a light command may load."""

from __future__ import annotations

import ast
import importlib.metadata
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("schemas", "curate", "train", "evals")  # data flows to the right, imports go to the left

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 70

# Distributions that the rooms need without importing them by name, each with its reason.
NEEDED_UNSEEN = {
    "accelerate": "transformers' Trainer runs on it",
    "tenacity": "lm-eval's models for endpoints try again with it",
    "pyopenssl": "model-signing imports it without asking for it",
    "fastapi": "`transformers serve` runs on it",
    "gguf": "transformers reads the bundled base model with it",
    "openai": "`transformers serve` takes its types of requests",
    "uvicorn": "`transformers serve` runs on it",
    "xllamacpp": "imported by name, where somebody has it",
}
SHIPPED = ("core", "large", "ray", "train", "evals", "report", "release", "llamacpp")
"""Groups of dependencies of the product."""
HEAVY = ("torch", "transformers", "trl", "peft", "datasets", "accelerate", "lm_eval", "sklearn")
HEAVY_FOR_HELP = (*HEAVY, "scipy", "pandas", "polars", "numba", "numpy")


def room_files(*rooms: str) -> list[Path]:
    return sorted(path for room in rooms for path in (ROOT / room).rglob("*.py"))


PRODUCT = [ROOT / "assay.py", *room_files(*ROOMS)]
SCRIPTS = sorted(path for folder in ("docs", "examples", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """(dotted module, line) of every import of a file, at its top or inside a function."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno
        elif isinstance(node, ast.ImportFrom):
            yield "." * node.level + (node.module or ""), node.lineno


def top(module: str) -> str:
    return module.split(".", maxsplit=1)[0]


def test_every_room_was_found():
    assert {path.relative_to(ROOT).parts[0] for path in PRODUCT} == {"assay.py", *ROOMS}
    assert len(PRODUCT) > 40
    assert len(TESTS) > 20


@pytest.mark.parametrize("path", PRODUCT, ids=name_of)
def test_imports_go_one_way(path):
    room = path.relative_to(ROOT).parts[0]
    allowed = set(ROOMS) if room == "assay.py" else set(ROOMS[: ROOMS.index(room) + 1])
    ours = {*ROOMS, "assay", "tests", "docs", "examples", "benchmarks"}
    wrong = [f"line {line}: {module}" for module, line in imported(path) if top(module) in ours - allowed]
    assert wrong == [], f"{room} may import {sorted(allowed)} only"


@pytest.mark.parametrize("path", PRODUCT, ids=name_of)
def test_imports_are_absolute(path):
    assert [f"line {line}" for module, line in imported(path) if module.startswith(".")] == []


@pytest.mark.parametrize("path", PRODUCT, ids=name_of)
def test_only_the_front_door_and_cli_files_import_click(path):
    if not re.fullmatch(r"assay\.py|cli(_\w+)?\.py", path.name):
        assert [f"line {line}" for module, line in imported(path) if top(module) == "click"] == []


@pytest.mark.parametrize("path", PRODUCT, ids=name_of)
def test_only_the_harness_imports_lm_eval(path):
    if name_of(path) != "evals/harness.py":
        assert [f"line {line}" for module, line in imported(path) if top(module) == "lm_eval"] == []


@pytest.mark.parametrize("path", room_files("schemas", "curate"), ids=name_of)
def test_data_rooms_never_import_a_training_library(path):
    assert [f"line {line}: {module}" for module, line in imported(path) if top(module) in HEAVY] == []


@pytest.mark.parametrize("path", room_files("schemas"), ids=name_of)
def test_schemas_is_a_leaf(path):
    allowed = {*sys.stdlib_module_names, "pydantic", "schemas"}
    assert [f"line {line}: {module}" for module, line in imported(path) if top(module) not in allowed] == []


# ---------------------------------------------------------------------------------------------------- dependencies


def declared(group: str) -> set[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    given = project["dependencies"] if group == "core" else project["optional-dependencies"][group]
    return {distribution(re.split(r"[^\w.-]", requirement, maxsplit=1)[0]) for requirement in given}


def distribution(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def third_party(paths: list[Path]) -> dict[str, str]:
    """Distribution -> one place that imports it."""
    owners = importlib.metadata.packages_distributions()
    ours = {*ROOMS, "assay"}
    return {
        distribution(owners.get(top(module), [top(module)])[0]): f"{name_of(path)}:{line}"
        for path in paths
        for module, line in imported(path)
        if top(module) not in {*sys.stdlib_module_names, *ours} and not module.startswith(".")
    }


@pytest.mark.parametrize(
    ("room", "groups"),
    [
        ("schemas", ["core"]),
        ("curate", ["core", "large", "ray"]),
        ("train", ["core", "train"]),
        ("evals", ["core", "train", "evals", "report", "release", "llamacpp"]),
    ],
)
def test_what_a_room_imports_is_declared(room, groups):
    known = set().union(*map(declared, groups))
    assert {name: place for name, place in third_party(room_files(room)).items() if name not in known} == {}


def test_what_is_declared_is_imported():
    assert set().union(*map(declared, SHIPPED)) - set(third_party(PRODUCT)) - set(NEEDED_UNSEEN) == set()


def test_every_dependency_is_pinned():
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pinned = {line.split("==")[0] for line in lines if line and not line.startswith("#")}
    assert set().union(*map(declared, [*SHIPPED, "dev"])) - pinned == set()


# ----------------------------------------------------------------------------------------------------------- shape


@pytest.mark.parametrize("path", [*PRODUCT, *SCRIPTS, *TESTS], ids=name_of)
def test_files_and_functions_stay_small(path):
    text = path.read_text(encoding="utf-8")
    lines = text.count("\n")
    assert lines <= MAX_FILE_LINES
    functions = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    sizes = {f"{node.name}, line {node.lineno}": (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert {name: size for name, size in sizes.items() if size > MAX_FUNCTION_LINES} == {}


VAGUE = {"util", "utils", "helper", "helpers", "common", "manager", "misc"}


@pytest.mark.parametrize("path", PRODUCT, ids=name_of)
def test_names_say_what_things_are(path):
    classes = [node.name for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.ClassDef)]
    names = [*path.relative_to(ROOT).with_suffix("").parts, *classes]
    words = {name: {word.lower() for word in re.findall(r"[A-Z]?[a-z]+", name)} for name in names}
    assert [name for name, parts in words.items() if parts & VAGUE] == []


@pytest.mark.parametrize("room", ROOMS)
def test_each_room_says_that_it_is_ours(room):
    tree = ast.parse((ROOT / room / "__init__.py").read_text(encoding="utf-8"))
    marks = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["__distribution__"]
    ]
    assert marks == ["assay"]


def test_every_folder_of_code_is_a_package():
    folders = {path.parent for path in room_files(*ROOMS)}
    assert [name_of(folder) for folder in sorted(folders) if not (folder / "__init__.py").exists()] == []


def test_tests_are_not_a_package():
    assert [name_of(path) for path in TESTS if path.name == "__init__.py"] == []


# ---------------------------------------------------------------------------------------------------- light commands

PROBE = """
import atexit, sys
heavy = sys.argv.pop(1).split(",")
atexit.register(lambda: print("loaded:", *(name for name in heavy if name in sys.modules), file=sys.stderr))
import assay
sys.exit(assay.main())
"""


def modules_loaded_by(heavy: tuple[str, ...], folder: Path, *arguments: str, expected: int) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", PROBE, ",".join(heavy), *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == expected, done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("loaded:"), done.stderr
    return last.split()[1:]


@pytest.mark.parametrize(
    "command", [[], *([name] for name in "audit curate preview train sweep evals compare gate report release".split())]
)
def test_help_loads_nothing_heavy(command, tmp_path):
    assert modules_loaded_by(HEAVY_FOR_HELP, tmp_path, *command, "--help", expected=0) == []


def test_audit_loads_no_training_library(tmp_path):
    rows = tmp_path / "rows.jsonl"
    turns = '{"role": "user", "content": "Name a colour."}, {"role": "assistant", "content": "Blue."}'
    rows.write_text(f'{{"messages": [{turns}]}}\n' * 2, encoding="utf-8")
    assert modules_loaded_by(HEAVY, tmp_path, "audit", str(rows), "--fail-on", "warning", expected=1) == []
