"""Trainings that are killed again and again, at any moment, end in the same bytes as one that never was.

The processes are forked from one that imported everything before, so that a kill costs a second and not ten.
"""

import contextlib
import multiprocessing
import os
import random
import shutil
import time
from pathlib import Path
from typing import Any

import pytest

from curate.configfile import load_project
from tests.toy_project import ToyProject, toy_kind
from train.monitor import SilentView

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("ASSAY_KILLS", "6"))
"""Kills for each case; more for a thorough look."""
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(
    ["train.run", "train.training", *(f"train.methods.{name}" for name in ("sft", "dpo", "kto", "grpo"))]
)
DROPOUT: dict[str, Any] = {"lora": {"r": 2, "lora_dropout": 0.1}, "epochs": 4, "checkpoint_steps": 2}
CASES: dict[str, dict[str, Any]] = {
    "sft": {"method": "sft"},
    "full": {"method": "full"},
    "dpo": {"method": "dpo"},
    "kto": {"method": "kto"},
    "grpo": {
        "method": "grpo",
        "rewards": [{"use": "regex", "options": {"pattern": "[a-z]"}}],
        "batch_size": 8,
        "max_new_tokens": 4,
        "epochs": 2,
    },
    "accumulated": {"method": "sft", "gradient_accumulation": 2, "batch_size": 2, "packing": True},
    "stopped early": {
        "method": "sft",
        "early_stopping": 2,
        "epochs": 30,
        "learning_rate": 0.1,
        "watch": {"share": 1.0},
        "guard": {"spike": None},
    },
    "sent back": {
        "method": "sft",
        "epochs": 12,
        "learning_rate": 0.8,
        "guard": {"spike": 1.1, "window": 2, "patience": 1, "factor": 0.01, "rollbacks": 9},
    },
}


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "manifest.json")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def train_once(config: str, dataset: str, runs: str) -> None:
    """What a killed process runs."""
    from train.run import train

    train(load_project(Path(config), out=Path(runs)), Path(dataset), SilentView())


def results(runs: Path) -> list[Path]:
    return [path.parent for path in (runs / "train").glob("[!.]*/manifest.json") if path.parent.suffix != ".partial"]


@pytest.mark.parametrize("case", CASES)
def test_a_run_that_was_killed_ends_as_one_that_was_not(tiny_model_folder, tmp_path, case):
    toy = ToyProject(tmp_path, tiny_model_folder)
    method = CASES[case]["method"]
    splits = {"train": toy_kind(method, 16), "validation": toy_kind(method, 5, "v"), "test": toy_kind(method, 4, "t")}
    dataset = toy.dataset(**splits)
    toy.verdict(dataset)
    project = toy.project(**DROPOUT | CASES[case])

    def start(runs: Path) -> Any:
        process = FORKS.Process(target=train_once, args=(str(project.path), str(dataset.path), str(runs)))
        process.start()
        return process

    warmed = FORKS.Process(target=int)  # the first one waits for the imports
    warmed.start()
    warmed.join()

    def fresh(name: str) -> Path:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(tmp_path / name)
        return Path(shutil.copytree(project.runs, tmp_path / name))

    untouched = fresh("untouched")
    begun = time.monotonic()
    whole = start(untouched)
    whole.join()
    seconds = time.monotonic() - begun
    assert whole.exitcode == 0
    expected = contents(results(untouched)[0])

    moments = random.Random(case)
    kills, runs = 0, fresh("killed")
    while kills < KILLS or not results(runs):
        process = start(runs)
        process.join(moments.uniform(0.1, 1.0) * seconds if kills < KILLS else None)
        process.kill()
        process.join()
        kills += process.exitcode != 0
        assert process.exitcode in (0, -9)
        if results(runs):
            assert contents(results(runs)[0]) == expected
            assert not list((runs / "train").glob("*.partial"))
            if kills < KILLS:
                runs = fresh("killed")
    assert contents(results(runs)[0]) == expected
