"""Several evaluations of the same models: their differences are noise that enters the verdict and the lock."""

from dataclasses import replace

import polars as pl
import pytest

from evals.bless import bless
from evals.evidence import read_evidence
from evals.gate import judge_results, model_gate_stage
from evals.lock import read_lock
from evals.run import dataset_of, evaluate
from evals.runs import with_runs
from evals.token_scores import TokenScorer
from schemas.errors import UserError
from schemas.manifest import open_stage
from schemas.progress import Progress
from schemas.stage import Finished
from schemas.verdict import Verdict
from tests.evals.made_adapter import made_adapter, made_project

QUIET = Progress(quiet=True)


@pytest.fixture
def runs(fresh, tiny_model_folder, monkeypatch):
    """The project with evaluations in batches of 4 and of 1, and how many rows passed through a model for each."""
    project, adapter = fresh
    passed: list[int] = []
    whole = TokenScorer._forward

    def counted(scorer, batch):
        passed.append(len(batch))
        return whole(scorer, batch)

    monkeypatch.setattr(TokenScorer, "_forward", counted)
    first = evaluate(project, adapter, QUIET)
    rows = sum(passed)
    passed.clear()
    again = evaluate(made_project(project.root, tiny_model_folder, batch_size=1), adapter, QUIET)
    assert sum(passed) >= rows > 0  # answers in batches of another size are not those that are known
    return made_project(project.root, tiny_model_folder), first, again


def test_a_further_run_enters_the_verdict_and_the_lock(runs, monkeypatch):
    monkeypatch.delenv("CI", raising=False)
    project, first, again = runs
    finished = judge_results(project, first.path, [again.path])
    verdict = Verdict.model_validate_json((finished.folder / "verdict.json").read_bytes())
    check = verdict.checks[0]
    assert check.measured["runs"] == [2, 2]
    assert check.measured["noise_variance"] == pytest.approx(0, abs=1e-6)
    assert check.measured["items"] == 12
    assert verdict.subject["run 2"] == again.manifest.content_digest
    assert finished.folder != model_gate_stage(project, first.path).folder
    blessed = bless(project, first.path, model="tuned", reason="twice", override=True, again=[again.path])
    noise = read_lock(blessed.path).tasks["toy_test"].noise
    assert noise is not None
    assert noise.runs == 2
    assert (blessed.lock.blessing.override or "").startswith("the verdict without a lock is ")


def test_what_differs_between_runs_widens_the_interval(runs):
    project, first, again = runs
    evidence = read_evidence(first.folder, project.config.gates.model, 0)
    both = with_runs(evidence, first.manifest, [again.path])
    tuned, second = pl.col("model") == "tuned", pl.col("run") == 1
    moved = pl.when(tuned & second).then(pl.lit(1.0)).otherwise("score")
    noisy = replace(both, items=both.items.with_columns(score=moved))
    wide, narrow = noisy.compare("toy_test", "base"), both.compare("toy_test", "base")
    assert wide.noises[0].variance > 0
    assert wide.interval.high - wide.interval.low > narrow.interval.high - narrow.interval.low


def test_what_is_no_further_run_is_refused(runs, fresh, tiny_model_folder):
    project, first, _ = runs
    _, adapter = fresh

    def refused(other):
        with pytest.raises(UserError, match="no further run") as error:
            judge_results(project, first.path, [other])
        return error.value.problems[0].found

    assert "a second time" in refused(first.path)
    fewer = evaluate(made_project(project.root, tiny_model_folder, limit=6), adapter, QUIET)
    assert "other items" in refused(fewer.path)
    dataset, folder = open_stage(dataset_of(adapter), "curate")
    lora = project.config.train.lora.model_copy(update={"r": 2})
    train = project.config.train.model_copy(update={"lora": lora})
    changed = replace(project, config=project.config.model_copy(update={"train": train}))
    other = made_adapter(changed, Finished(folder, dataset, reused=True))
    assert "another base model, adapter" in refused(evaluate(changed, other.path, QUIET).path)
