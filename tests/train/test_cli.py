"""`assay train`: the manifest's path on stdout, progress on stderr."""

import json

import pytest
from click.testing import CliRunner

from curate import pipeline
from schemas.errors import ExitCode, UserError
from schemas.stage import Stage
from train.cli import train

SMALL = {"lora": {"r": 2, "last_layers": 1}, "epochs": 1}


def call(*words: str):
    return CliRunner().invoke(train, list(words), standalone_mode=False)


@pytest.fixture
def config(toy):
    toy.project(**SMALL)
    return str(toy.root / "assay.yaml")


def test_a_dataset_can_be_named(toy, config):
    dataset = toy.dataset()
    toy.verdict(dataset)
    result = call("--config", config, "--dataset", str(dataset.path))
    assert result.return_value == ExitCode.PASS
    (line,) = result.stdout.splitlines()
    assert line.startswith(str(toy.root / "runs" / "train" / "toy-"))
    assert line.endswith("manifest.json")
    assert "step 4/4" in result.stderr

    again = call("-c", config, "--dataset", str(dataset.path), "--format", "json", "--quiet")
    found = json.loads(again.stdout)
    assert (found["manifest"], found["reused"]) == (line, True)
    assert again.stderr == ""
    assert "was trained before" in call("-c", config, "--dataset", str(dataset.path)).stderr
    assert found["counts"]["steps"] == 4


def test_by_default_it_is_the_dataset_of_the_config(toy, config, monkeypatch):
    dataset = toy.dataset()
    toy.verdict(dataset)
    made = Stage("curate", "toy", {"splits": ["test", "train", "validation"]}, {}, (), "0", toy.root / "runs")
    monkeypatch.setattr(pipeline, "curate_stage", lambda project: made)
    result = call("--config", config, "--quiet", "--set", "train.max_examples=5")
    assert result.exception is None
    assert result.stderr == ""

    monkeypatch.setattr(pipeline, "curate_stage", lambda project: Stage("curate", "toy", {}, {}, (), "1", made.root))
    missing = call("--config", config)
    assert isinstance(missing.exception, UserError)
    assert missing.exception.problems[0].help == "run `assay curate` first"


def test_ungated_data_needs_the_flag(toy, config):
    dataset = toy.dataset()
    refused = call("--config", config, "--dataset", str(dataset.path))
    assert isinstance(refused.exception, UserError)
    assert refused.stdout == ""
    allowed = call("--config", config, "--dataset", str(dataset.path), "--allow-ungated", "--quiet")
    assert allowed.return_value == ExitCode.PASS
