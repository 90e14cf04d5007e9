"""Two processes on one machine, over gloo, learn what one process learns."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from tests.toy_project import ToyProject, toy_rows
from train import run
from train.monitor import SilentView
from train.run import train

ROOT = Path(run.__file__).parents[1]


def project(root: Path, model: Path, batch_size: int):
    root.mkdir()
    toy = ToyProject(root, model)
    dataset = toy.dataset(train=toy_rows(12), validation=toy_rows(4, "v"), test=[])
    toy.verdict(dataset)
    given = {"lora": {"r": 2}, "batch_size": batch_size, "checkpoint_steps": 2}
    return toy.project(**given), dataset.path


def launch(made, processes: int) -> Path:
    """Train as the documented command does, and give the result's folder."""
    config, dataset = made
    words = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes), "-m", "assay", "train"]
    words += ["--config", str(config.path), "--dataset", str(dataset)]
    clean = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    done = subprocess.run(words, cwd=config.root, env=clean, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    (manifest,) = done.stdout.split()  # the main process alone reports
    return Path(manifest).parent


def metrics(folder: Path) -> list[dict[str, float]]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_two_processes_learn_what_one_does(tiny_model_folder, tmp_path):
    config, dataset = project(tmp_path / "one", tiny_model_folder, 4)
    expected = train(config, dataset, SilentView()).folder
    found = launch(project(tmp_path / "two", tiny_model_folder, 2), 2)
    one, two = metrics(expected), metrics(found)
    assert [record["tokens"] for record in two[1:]] == [record["tokens"] for record in one[1:]]
    for name in ("loss", "grad_norm"):
        assert [record[name] for record in two[1:]] == pytest.approx([record[name] for record in one[1:]], rel=1e-3)
    weights = [load_file(next(folder.rglob("*.safetensors"))) for folder in (expected, found)]
    assert weights[0].keys() == weights[1].keys()
    for name, tensor in weights[0].items():
        assert tensor.sub(weights[1][name]).abs().max() < 1e-4
