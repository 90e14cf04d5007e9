"""What must never pass, from the command line to the exit code: nothing to ask, broken stores, models that fail."""

import dataclasses
import json
import math
import shutil

import polars as pl
import pytest
import yaml

import assay
from curate.configfile import load_project
from evals.discovery import modules
from evals.run import evaluate
from evals.token_scores import TokenScorer
from schemas.errors import ExitCode
from schemas.progress import Progress
from schemas.verdict import Verdict
from tests.evals.made_adapter import TASK, made_adapter, made_dataset, made_project
from tests.toy_project import toy_rows

QUIET = Progress(quiet=True)
OFF = {module.__name__.rpartition(".")[2]: "off" for module in modules("evals.overfitting")}
NO_MEASUREMENT = f"gates.model.overfitting={json.dumps(OFF)}"
LENIENT = 'gates.model.tasks.toy_test={"must": "not_regress", "margin": 0.5}'


@pytest.fixture(autouse=True)
def at_home(monkeypatch):
    monkeypatch.delenv("CI", raising=False)


def judged(project, results, capsys, *more):
    """Exit code and verdict of the gate with a margin that the models' own scores keep with room to spare."""
    capsys.readouterr()
    words = ["gate", "model", str(project.path), "--results", str(results), "--quiet", "--format", "json"]
    sets = [word for one in (LENIENT, NO_MEASUREMENT, *more) for word in ("--set", one)]
    code = assay.run(words + sets)
    return code, Verdict.model_validate_json(capsys.readouterr().out)


@pytest.fixture
def larger(tmp_path, tiny_model_folder):
    """A project of sixty test items whose tuned model is its base, so that only a fault can tell them apart."""
    project = made_project(tmp_path, tiny_model_folder)
    dataset = made_dataset(tmp_path, tiny_model_folder, test=toy_rows(60, "t"))
    return project, made_adapter(project, dataset, scale=0.0).path


def failing(monkeypatch, model, how):
    """Let one model fail on every second test item, by an error or by scores that are no numbers."""
    whole = TokenScorer._forward

    def forward(scorer, batch):
        found = whole(scorer, batch)
        if ("base" if _is_off(scorer.model) else "tuned") != model:
            return found
        bad = {query for query in found if len(query.context) % 2}
        if bad and how == "error":
            if len(batch) > 1 or all(query in bad for query in found):
                raise RuntimeError("out of memory")
        return {q: dataclasses.replace(s, log_likelihood=math.nan) if q in bad else s for q, s in found.items()}

    monkeypatch.setattr(TokenScorer, "_forward", forward)


def _is_off(model):
    return any(getattr(module, "disable_adapters", False) is True for module in model.modules())


def test_models_that_differ_in_nothing_pass(larger, capsys):
    project, adapter = larger
    code, verdict = judged(project, evaluate(project, adapter, QUIET).path, capsys)
    assert (code, verdict.outcome) == (ExitCode.PASS, "pass")


@pytest.mark.parametrize("how", ["error", "NaN"])
@pytest.mark.parametrize("model", ["base", "tuned"])
def test_a_model_that_fails_on_items_never_gains_by_it(larger, capsys, monkeypatch, model, how):
    project, adapter = larger
    failing(monkeypatch, model, how)
    result = evaluate(project, adapter, QUIET)
    failed = pl.read_parquet(result.folder / "items.parquet").filter(pl.col("score").is_null())
    assert failed.height >= 20
    assert set(failed["model"]) == {model}
    code, verdict = judged(
        project, result.path, capsys, 'gates.model.tasks.toy_test={"must": "not_regress", "margin": 0.05}'
    )
    assert code in (ExitCode.FAIL, ExitCode.INCONCLUSIVE)
    check = verdict.checks[0]
    counted = {"base": "baseline_failed", "tuned": "candidate_failed"}[model]
    assert check.measured[counted] == failed.height
    improving, _ = judged(project, result.path, capsys, 'gates.model.tasks.toy_test={"must": "improve", "detect": 0.2}')
    assert improving != ExitCode.PASS


def test_a_metric_without_a_number_never_passes(larger, capsys):
    project, adapter = larger
    (project.root / "odd.py").write_text("def score(doc, results):\n    return {'acc': float('nan')}\n", "utf-8")
    path = project.root / "toy_test.yaml"
    path.write_text(path.read_text("utf-8") + "process_results: !function odd.score\n", "utf-8")
    result = evaluate(load_project(project.path), adapter, QUIET)
    assert result.manifest.counts["failed"] == 120
    code, verdict = judged(project, result.path, capsys)
    assert code in (ExitCode.FAIL, ExitCode.INCONCLUSIVE)
    assert verdict.checks[0].measured["candidate_failed"] == 60


def test_nothing_to_ask_is_an_error(tmp_path, tiny_model_folder, capsys):
    project = made_project(tmp_path, tiny_model_folder)
    adapter = made_adapter(project, made_dataset(tmp_path, tiny_model_folder, test=[])).path
    assert assay.run(["evals", str(project.path), "--adapter", str(adapter), "--quiet"]) == ExitCode.USAGE
    assert "the task has no items" in capsys.readouterr().err
    assert list((project.runs / "evals").glob("*")) == []


def test_a_truncated_store_of_answers_is_named_and_nothing_is_written(done, fresh, tmp_path, capsys):
    project, adapter = fresh
    evaluate(project, adapter, QUIET)
    shutil.rmtree(project.runs / "evals")
    stores = sorted((project.runs / "responses").glob("*.sqlite"))
    for path in stores:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    command = ["evals", str(project.path), "--adapter", str(adapter), "--quiet"]
    assert assay.run(command) == ExitCode.USAGE
    said = capsys.readouterr().err
    assert "the store of earlier answers cannot be used" in said
    assert str(project.runs / "responses") in said
    assert list((project.runs / "evals").glob("*/manifest.json")) == []
    for path in (project.runs / "responses").iterdir():
        path.unlink()
    assert assay.run(command) == ExitCode.PASS
    again = evaluate(project, adapter, QUIET)
    assert again.manifest.files == done[2].manifest.files


def test_a_lock_of_other_tasks_is_stale(larger, tiny_model_folder, capsys):
    project, adapter = larger
    result = evaluate(project, adapter, QUIET)
    assert judged(project, result.path, capsys)[0] == ExitCode.PASS
    words = ["--results", str(result.path), "--set", LENIENT, "--set", NO_MEASUREMENT]
    assert assay.run(["bless", str(project.path), *words, "--reason", "first"]) == ExitCode.PASS
    held = 'evals.baseline="baseline.lock.json"'
    assert judged(project, result.path, capsys, held)[0] == ExitCode.PASS
    (project.root / "more.yaml").write_text(yaml.safe_dump({**TASK, "task": "more"}), "utf-8")
    two = made_project(project.root, tiny_model_folder, suites=["toy_test", "more"])
    other = evaluate(two, adapter, QUIET)
    more = 'gates.model.tasks.more={"must": "not_regress", "margin": 0.5}'
    code, verdict = judged(two, other.path, capsys, more, held)
    assert (code, verdict.verdict) == (ExitCode.INCONCLUSIVE, "stale")
    assert "tasks.more: locked nothing, now there" in json.dumps(verdict.checks[0].measured["fields"])
    text = (project.root / "baseline.lock.json").read_text("utf-8")
    (project.root / "baseline.lock.json").write_text(text.replace('"score": 0.0', '"score": 1.0', 1), "utf-8")
    capsys.readouterr()
    assert assay.run(["gate", "model", str(project.path), *words, "--set", held]) == ExitCode.USAGE
    assert "does not hash to its digest" in capsys.readouterr().err
