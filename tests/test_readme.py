"""Every fenced block of the pages that a newcomer copies from is run, or at least checked, as its language demands."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from schemas.config import EvalsConfig
from schemas.release_config import ReleaseConfig
from schemas.train_config import TrainConfig

ROOT = Path(__file__).resolve().parents[1]
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/adopt.md",
    "docs/backends.md",
    "docs/contamination.md",
    "docs/drift.md",
    "docs/indexes.md",
    "docs/plan.md",
    "docs/release.md",
    "docs/regression-gate.md",
    "docs/reward_models.md",
    "docs/suites.md",
    "docs/sweep.md",
    "docs/training.md",
)
LANGUAGES = {"bash", "python", "yaml", "json", "toml", "text"}

FENCE = re.compile(r"^```(?P<language>\S*)[^\n]*\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"^\s*assay (?P<words>[a-z]+(?: (?:data|model|build|add|query))?)(?P<rest>.*)$", re.MULTILINE)
SUBSTITUTION = re.compile(r"\$\([^)]*\)")
FILE_NAME = re.compile(r"\A# (?P<path>[\w./-]+\.(?:py|yaml))\n")
DOCUMENTED_EXIT = re.compile(r"^(?P<command>[^#\n]+?)\s+# exit (?P<code>\d+)\b.*$", re.MULTILINE)

# Blocks with one of these take minutes, the real model or the network: .ci/run and the slow tests run them. Here their
# shell syntax is checked, and their commands and flags against --help.
ELSEWHERE = re.compile(
    r"\bmake (setup|demo|demo-overfit|test|test-all|check|docs|bench)\b"
    r"|\bassay (train|evals|gate model|bless|report|release)\b"
    r"|\bassay sweep\b(?!.*# exit 2)|\bgit clone\b|\bpip install\b|\bnpm\b|\bpre-commit run\b"
)
TINY = re.compile(r"\btiny\b")
"""Blocks that name the tiny model take seconds, and are run."""


class Block(NamedTuple):
    language: str
    code: str
    line: int


def blocks_of(page: str) -> list[Block]:
    text = (ROOT / page).read_text(encoding="utf-8")
    return [
        Block(match["language"], match["code"], text[: match.start()].count("\n") + 1) for match in FENCE.finditer(text)
    ]


def place_of(page: str, block: Block) -> str:
    return f"{page}:{block.line}"


def run(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """Run in a copy of the tree, where `assay` is the copy's, not the one that may be installed here."""
    environment = os.environ | {
        "PATH": os.pathsep.join([str(folder.parent / "bin"), str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PYTHONPATH": str(folder),
        "NO_COLOR": "1",
    }
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


@pytest.fixture
def checkout(tmp_path):
    """A copy of the tree without what was built or run in it; compiled kernels stay, to be compiled once."""
    left_out = shutil.ignore_patterns(".git", ".venv*", "runs", "build", "*.egg-info", ".*_cache")
    command = tmp_path / "bin" / "assay"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m assay "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    return shutil.copytree(ROOT, tmp_path / "checkout", ignore=left_out)


@pytest.mark.parametrize("page", PAGES)
def test_page_has_blocks_and_each_names_its_language(page):
    blocks = blocks_of(page)
    assert len(blocks) >= 2
    assert {place_of(page, block): block.language for block in blocks if block.language not in LANGUAGES} == {}
    assert (ROOT / page).read_text(encoding="utf-8").count("```") == 2 * len(blocks)


@pytest.mark.parametrize("page", PAGES)
def test_shell_and_python_blocks_run_in_order(page, checkout):
    """One copy for a page: a block may use what the one before it made, as it would for a reader.

    `# exit N` after a command documents another exit code than 0; a Python or YAML block that starts with a comment
    naming a file is saved there.
    """
    for block in blocks_of(page):
        named = FILE_NAME.match(block.code)
        if named:
            (checkout / named["path"]).write_text(block.code[named.end() :], encoding="utf-8")
        elif block.language == "bash" and (TINY.search(block.code) or not ELSEWHERE.search(block.code)):
            script = DOCUMENTED_EXIT.sub(r"{ \g<command>; } && exit 99 || [ $? -eq \g<code> ]", block.code)
            done = run(["bash", "-euo", "pipefail", "-c", script], checkout)
            assert done.returncode == 0, f"{place_of(page, block)}\n{done.stdout}\n{done.stderr}"
        elif block.language == "python":
            done = run([sys.executable, "-c", block.code], checkout)
            assert done.returncode == 0, f"{place_of(page, block)}\n{done.stderr}"


@pytest.mark.parametrize("page", PAGES)
def test_shell_blocks_are_valid_shell(page):
    for block in blocks_of(page):
        if block.language == "bash":
            done = subprocess.run(["bash", "-n"], input=block.code, capture_output=True, text=True, check=False)
            assert done.stderr == "", place_of(page, block)


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_flags_exist(page, checkout):
    """Also for blocks that are run elsewhere: no page names a command or a flag that assay does not have."""
    named: dict[str, set[str]] = {}
    for block in blocks_of(page):
        for command in COMMAND.finditer(block.code if block.language == "bash" else ""):
            own = re.split(r"[|;&#>]", SUBSTITUTION.sub("", command["rest"]), maxsplit=1)[0]
            named.setdefault(command["words"], set()).update(re.findall(r"(?<!\S)--?[a-z][a-z-]*", own))
    for words, flags in named.items():
        done = run([sys.executable, "-m", "assay", *words.split(), "--help"], checkout)
        assert done.returncode == 0, words
        assert flags - set(re.findall(r"--?[a-z][a-z-]*", done.stdout)) == set(), words


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_exist(page):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = {name for block in blocks_of(page) for name in re.findall(r"^make ([a-z-]+)", block.code, re.MULTILINE)}
    assert named - targets == set()


@pytest.mark.parametrize("page", PAGES)
def test_data_blocks_parse(page):
    for block in blocks_of(page):
        if block.language == "yaml":
            found = yaml.safe_load(block.code)
            assert found is not None, place_of(page, block)
            if "train" in found:
                TrainConfig.model_validate(found["train"])
            if "release" in found:
                ReleaseConfig.model_validate(found["release"])
            if "evals" in found:
                EvalsConfig.model_validate({"suites": ["s"]} | found["evals"])
        elif block.language == "json":
            assert json.loads(block.code) is not None, place_of(page, block)


@pytest.mark.parametrize("page", PAGES)
def test_links_to_files_lead_somewhere(page):
    text = FENCE.sub("", (ROOT / page).read_text(encoding="utf-8"))
    links = {
        link for link in re.findall(r"\]\(([^)#\s]+)", text) if "://" not in link and not link.startswith("mailto:")
    }
    assert {link for link in links if not ((ROOT / page).parent / link).exists()} == set()
