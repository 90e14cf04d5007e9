"""`assay compare` as a command."""

import json

import click
import pytest
from click.testing import CliRunner

from evals.cli_compare import compare
from evals.comparing.asking import LocalModels
from evals.decoding import GreedyDecoder
from schemas.compare import Compared
from schemas.errors import ExitCode, UserError
from tests.evals.made_compare import compared_project, rows

SMALL = {"shots": 2, "paraphrases": 1, "latency_items": 1}


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_model_folder):
    """Project and adapter, with enough items for a classifier to be shown better than anything that guesses."""
    return compared_project(tmp_path_factory.mktemp("compare"), tiny_model_folder, test=rows(60, "t"))


def run(project, adapter, *arguments, **config):
    """Exit code that the command returned, and what it printed."""
    sets = [f"--set=compare.{name}={json.dumps(value)}" for name, value in {**SMALL, **config}.items()]
    given = [str(adapter.path), "-c", str(project.path), *sets, *arguments]
    result = CliRunner().invoke(compare, given, standalone_mode=False)
    if result.exception:
        raise result.exception
    return result.return_value, result.stdout, result.stderr


def test_the_evidence_names_an_arm(made):
    code, out, err = run(*made, arms=["classical", "zero_shot", "tuned"])
    assert code is ExitCode.PASS
    assert "classical" in out.splitlines()[0].lower()
    assert "zero-shot prompt: " in err
    assert err.strip().endswith("manifest.json")
    code, out, err = run(*made, "--format", "json", "--quiet", arms=["classical", "zero_shot", "tuned"])
    judged = Compared.model_validate_json(out)
    assert (judged.recommendation.arm, judged.outcome) == ("classical", "pass")
    assert judged.items == 60
    assert err == ""
    for form, begins in (("markdown", "#"), ("html", "<!doctype html>")):
        _, out, _ = run(*made, "--format", form, "--quiet", arms=["classical", "zero_shot", "tuned"])
        assert out.lower().startswith(begins)
        assert "<script" not in out


def test_too_few_items_are_inconclusive(made):
    code, out, _ = run(*made, arms=["classical", "zero_shot"], items=3)
    assert code is ExitCode.INCONCLUSIVE
    assert out.lower().startswith("inconclusive")
    assert "10 items" in out


def test_an_arm_that_failed_is_told_and_can_be_asked_again(made, monkeypatch):
    whole, arms = LocalModels.ask, ["classical", "zero_shot", "tuned"]

    def fails(models, model, asked):
        if model == "tuned":
            raise RuntimeError("out of memory")
        return whole(models, model, asked)

    monkeypatch.setattr(LocalModels, "ask", fails)
    code, out, err = run(*made, arms=arms, seed=5)
    assert code is ExitCode.INCONCLUSIVE
    assert "out of memory" in out
    assert "to ask the arms that failed again, delete" in err


def test_an_interrupted_comparison_says_what_is_kept(made, monkeypatch, capfd):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(GreedyDecoder, "decode", interrupt)
    project, adapter = made
    given = [str(adapter.path), "-c", str(project.path), "--set=compare.seed=9", "--quiet"]
    with pytest.raises(click.Abort):
        compare.main(given, standalone_mode=False)
    assert "what was answered so far is kept" in capfd.readouterr().err


def test_the_adapter_is_that_of_the_config(made):
    with pytest.raises(UserError, match="no such data file"):  # the toy dataset was not made by `assay curate`
        CliRunner().invoke(compare, ["-c", str(made[0].path)], standalone_mode=False, catch_exceptions=False)
