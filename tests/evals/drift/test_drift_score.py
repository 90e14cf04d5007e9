"""`assay drift --score`: the tuned model asked new rows beside its recorded score on the test split."""

import json

import polars as pl
import pytest
import yaml

from evals.run import evaluate
from schemas.drift import Drift
from schemas.errors import ExitCode, UserError
from schemas.progress import Progress
from tests.evals.drift.made_drift import run_drift, write_rows
from tests.evals.made_adapter import TASK, made_adapter
from tests.toy_project import ToyProject


def asked(count, answer=None):
    """Questions like the toy project's, all different."""
    rows = []
    for at in range(count):
        label = answer or ("no" if at % 3 == 0 else "yes")
        question = f"{'bad' if label == 'no' else 'good'} thing {at * 7919 % 1009} of {at * 31 % 97}"
        rows.append({"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": label}]})
    return rows


@pytest.fixture(scope="module")
def made(tmp_path_factory, tiny_model_folder):
    """A project with an evaluation of a tiny model on 40 test rows: config and folder of the results."""
    from curate.configfile import load_project
    from curate.pipeline import curate
    from schemas.verdict import Outcome

    root = tmp_path_factory.mktemp("scored")
    write_rows(root / "rows.jsonl", asked(400))
    (root / "toy_test.yaml").write_text(yaml.safe_dump(TASK), "utf-8")
    config = {
        "name": "toy",
        "data": {"sources": ["rows.jsonl"]},
        "curate": {"steps": ["schema", "exact-duplicate"], "split": {"threshold": 1.0}},
        "gates": {"model": {"tasks": {"toy_test": {"must": "improve", "detect": 0.2}}}},
        "evals": {"suites": ["toy_test"], "batch_size": 8},
        "train": {"base_model": str(tiny_model_folder), "max_examples": None, "lora": {"r": 4}},
    }
    (root / "assay.yaml").write_text(yaml.safe_dump(config), "utf-8")
    project = load_project(root / "assay.yaml")
    dataset = curate(project)
    ToyProject(root, tiny_model_folder).verdict(dataset, Outcome.PASS)
    adapter = made_adapter(project, dataset)
    return project.path, adapter.folder, evaluate(project, adapter.path, Progress(quiet=True)).folder


def scored(made, path, *more):
    config, _, results = made
    code, out, _ = run_drift(path, "--run", results, "-c", config, "--score", "-q", "--format", "json", *more)
    return code, Drift.model_validate_json(out)


def test_new_rows_are_asked_and_compared_with_the_record(made, tmp_path):
    config, _, results = made
    new = write_rows(tmp_path / "new.jsonl", [json.loads(line) for line in unseen(90)])
    _, found = scored(made, new)
    recorded = pl.read_parquet(results / "items.parquet").filter(pl.col("model") == "tuned")
    assert found.score.test == pytest.approx(recorded["score"].mean(), abs=1e-6)
    assert found.score.test_items == recorded.height == 40
    assert found.score.metric == "acc"
    assert found.score.new_items == 90
    assert found.score.low is not None
    assert found.score.difference == pytest.approx(found.score.new - found.score.test, abs=1e-6)
    assert not any("was not asked" in note for note in found.notes)
    _, few = scored(made, new, "--set=drift.items=30")
    assert few.score.new_items == 30
    text = run_drift(new, "--run", results, "-c", config, "--score", "-q")[1]
    assert "Score of the model" in text


def unseen(count):
    """Lines of rows that no trained row is like."""
    for at in range(count):
        label = "no" if at % 3 == 0 else "yes"
        question = f"{'bad' if label == 'no' else 'good'} {at * 104729 % 99991:x} matter {at * 613 % 9973:x}"
        yield json.dumps({"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": label}]})


def test_a_model_that_answers_new_rows_worse_asks_for_training(made, tmp_path, monkeypatch):
    """The toy model answers by chance, so that the record of another one is put in its place."""
    from evals.drift import score

    whole = score._values

    def flipped(answers, higher):
        scores, clusters = whole(answers, higher)
        return scores * 0 + (0.0 if len(scores) == 90 else 1.0), clusters

    monkeypatch.setattr(score, "_values", flipped)
    new = write_rows(tmp_path / "worse.jsonl", [json.loads(line) for line in unseen(90)][::-1])
    code, found = scored(made, new)
    assert code is ExitCode.FAIL
    assert found.score.word == "drifted"
    assert (found.score.new, found.score.test) == (0.0, 1.0)
    assert any(sentence.startswith("The model scores 0.000 (acc) on new rows") for sentence in found.sentences)


def test_rows_without_answers_are_not_scored(made, tmp_path):
    rows = [{"messages": json.loads(line)["messages"][:1]} for line in unseen(30)]
    _, found = scored(made, write_rows(tmp_path / "silent.jsonl", rows))
    assert found.score.outcome == "not_applicable"
    assert found.score.message == "the new rows have no answers to score by"


def test_too_few_rows_are_open(made, tmp_path):
    new = write_rows(tmp_path / "few.jsonl", [json.loads(line) for line in unseen(4)])
    code, found = scored(made, new)
    assert code is ExitCode.INCONCLUSIVE
    assert found.score.word == "open"


def test_a_run_without_a_recorded_score(made, tmp_path):
    config, adapter, _ = made
    new = write_rows(tmp_path / "new.jsonl", asked(20))
    with pytest.raises(UserError, match="recorded score on the test split, and none is behind"):
        run_drift(new, "--run", adapter, "-c", config, "--score")
