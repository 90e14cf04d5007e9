"""The evals stage and the model gate on a tiny model, from dataset and adapter to the verdict."""

import json
import shutil
from collections import Counter

import polars as pl
import pytest

from evals import evaluation, harness
from evals.consistency import ITEM_SCHEMA
from evals.gate import judge_results, model_gate_stage
from evals.packing import Query
from evals.run import dataset_of, evals_stage, evaluate
from evals.scoring import LOSS_SCHEMA
from evals.token_scores import TokenScorer
from schemas.atomic import exclusive
from schemas.errors import ManifestError, UserError
from schemas.manifest import input_stage
from schemas.progress import Progress
from schemas.results import EvalResults
from schemas.stage import Stage, require, run_stage
from schemas.verdict import Outcome, Verdict
from tests.evals.made_adapter import made_adapter, made_dataset, made_project
from tests.tiny_model import write_tiny_model
from tests.toy_project import toy_rows

QUIET = Progress(quiet=True)
MODELS = ["base", "tuned", "majority", "bag_of_words"]


def test_every_item_has_a_score_of_every_model(done):
    _, _, result = done
    items = pl.read_parquet(result.folder / "items.parquet")
    assert dict(items.schema) == ITEM_SCHEMA | {"sample": pl.Int64, "slices": pl.String}
    assert items.group_by("model", maintain_order=True).len().rows() == [(model, 12) for model in MODELS]
    assert items["score"].is_in([0.0, 1.0]).all()
    assert set(items["target"]) == {"no", "yes"}
    by_item = items.group_by("item_id").agg(pl.col("prompt_sha256").n_unique(), pl.col("target").n_unique())
    assert by_item.select("prompt_sha256", "target").unique().rows() == [(1, 1)]
    assert result.manifest.counts == {"tasks": 1, "items": 12, "failed": 0, "trained_rows": 11, "test_rows": 12}


def test_scores_and_losses_are_summarised(done):
    _, _, result = done
    results = EvalResults.model_validate(json.loads((result.folder / "results.json").read_bytes()))
    items = pl.read_parquet(result.folder / "items.parquet")
    assert [score.model for score in results.scores] == MODELS
    for score in results.scores:
        assert score.value == pytest.approx(items.filter(pl.col("model") == score.model)["score"].mean())
        assert (score.low or 0.0) < score.value <= (score.high or 0.0)
    majority = next(score for score in results.scores if score.model == "majority")
    assert majority.value == pytest.approx(8 / 12)
    assert results.tasks["toy_test"]["items"] == 12
    assert results.models["tuned"]["weights"] == results.models["base"]["weights"]
    losses = pl.read_parquet(result.folder / "losses.parquet")
    assert dict(losses.schema) == LOSS_SCHEMA
    assert losses.group_by("model", "split").len().sort("model", "split")["len"].to_list() == [12, 11, 12, 11]
    tuned = losses.filter((pl.col("model") == "tuned") & (pl.col("split") == "test"))
    expected = float(tuned["nll"].sum()) / int(tuned["tokens"].sum())
    assert results.losses["tuned"]["test"]["nats_per_token"] == pytest.approx(expected)


def test_the_losses_are_those_of_the_model_itself(done, tiny_model_folder):
    """Against transformers' own loss, row by row."""
    import torch
    from peft import PeftModel

    from curate.load_supervisor import load_supervisor
    from train.adapter import load_weights
    from train.rows import read_split

    project, adapter, result = done
    model = PeftModel.from_pretrained(load_weights(tiny_model_folder), adapter.folder / "adapter").eval()
    supervisor = load_supervisor(tiny_model_folder, project.config.train.max_length)
    losses = pl.read_parquet(result.folder / "losses.parquet")
    dataset = dataset_of(adapter.path).parent
    for row in read_split(dataset, "test")[:4]:
        encoded = supervisor.encode(row.messages)
        with torch.inference_mode():
            ids, labels = torch.tensor([encoded.input_ids]), torch.tensor([encoded.labels])
            mean = {"tuned": float(model(input_ids=ids, labels=labels).loss)}
            with model.disable_adapter():
                mean["base"] = float(model(input_ids=ids, labels=labels).loss)
        for name, expected in mean.items():
            found = losses.row(by_predicate=(pl.col("model") == name) & (pl.col("row_id") == row.row_id), named=True)
            assert found["tokens"] == encoded.supervised_tokens
            assert found["nll"] == pytest.approx(expected * encoded.supervised_tokens, abs=1e-4)


def test_the_adapter_is_what_tells_base_and_tuned_apart(done):
    _, _, result = done
    losses = pl.read_parquet(result.folder / "losses.parquet")
    base, tuned = (losses.filter(pl.col("model") == model)["nll"].to_list() for model in ("base", "tuned"))
    assert all(abs(b - t) > 1e-4 for b, t in zip(base, tuned, strict=True))


def test_an_unchanged_evaluation_runs_no_model(done, monkeypatch):
    project, adapter, result = done
    monkeypatch.setattr(TokenScorer, "score", None)
    again = evaluate(project, adapter.path, QUIET)
    assert again.reused
    assert again.folder == result.folder
    assert require(evals_stage(project, adapter.path), "evals").folder == result.folder


def test_a_killed_evaluation_goes_on_where_it_was(done, fresh, monkeypatch):
    project, adapter = fresh
    partial = evals_stage(project, adapter).folder.with_suffix(".partial")
    whole = TokenScorer._score_batch
    passed = []

    def killed(scorer, batch):
        if (partial / "parts" / "losses.base.parquet").exists():
            raise KeyboardInterrupt
        passed.append("base")
        whole(scorer, batch)

    monkeypatch.setattr(TokenScorer, "_score_batch", killed)
    with pytest.raises(KeyboardInterrupt):
        evaluate(project, adapter, QUIET)
    assert sorted(path.name for path in (partial / "parts").iterdir()) == [
        "engine.json",
        "fingerprint",
        "losses.base.parquet",
        "toy_test.base.parquet",
    ]

    def goes_on(scorer, batch):
        passed.append("tuned")
        whole(scorer, batch)

    monkeypatch.setattr(TokenScorer, "_score_batch", goes_on)
    result = evaluate(project, adapter, QUIET)
    assert passed.count("tuned") == passed.count("base")
    assert result.manifest.content_digest == done[2].manifest.content_digest
    assert not partial.exists()


def test_an_evaluation_that_another_process_runs_is_left_alone(fresh):
    project, adapter = fresh
    folder = evals_stage(project, adapter).folder
    partial = folder.with_name(folder.name + ".partial")
    (partial / "tasks").mkdir(parents=True)
    with exclusive(folder), pytest.raises(UserError, match="another assay run is writing this folder"):
        evaluate(project, adapter, QUIET)
    assert (partial / "tasks").is_dir()


def test_parts_of_another_evaluation_are_dropped(done, fresh):
    project, adapter = fresh
    partial = evals_stage(project, adapter).folder.with_suffix(".partial")
    (partial / "parts").mkdir(parents=True)
    (partial / "parts" / "fingerprint").write_text("f" * 64, "utf-8")
    (partial / "parts" / "toy_test.base.parquet").write_bytes(b"not mine")
    assert evaluate(project, adapter, QUIET).manifest.content_digest == done[2].manifest.content_digest


def test_each_row_passes_once_a_model(fresh, monkeypatch):
    project, adapter = fresh
    asked: list[Query] = []
    forward = TokenScorer._forward

    def counted(scorer, batch):
        asked.extend(query for row in batch for query, _ in row.reads)
        return forward(scorer, batch)

    monkeypatch.setattr(TokenScorer, "_may_branch", lambda scorer, row: True)
    monkeypatch.setattr(TokenScorer, "_forward", counted)
    evaluate(project, adapter, QUIET)
    assert set(Counter(asked).values()) == {2}  # once for base and once for tuned


def test_items_on_which_the_model_fails_count_and_do_not_vanish(fresh, monkeypatch):
    project, adapter = fresh
    forward = TokenScorer._forward

    def failing(scorer, batch):
        if any(len(query.context) > 45 for row in batch for query, _ in row.reads):
            raise RuntimeError("out of memory")
        return forward(scorer, batch)

    monkeypatch.setattr(TokenScorer, "_forward", failing)
    result = evaluate(project, adapter, QUIET)
    items = pl.read_parquet(result.folder / "items.parquet")
    failed = items.filter(pl.col("score").is_null())
    assert 0 < failed.height < 24
    assert result.manifest.counts["failed"] == failed.height
    assert set(failed["model"]) == {"base", "tuned"}
    verdict = judge_results(project, result.path)
    found = json.loads((verdict.folder / "verdict.json").read_bytes())["checks"]
    checks = {check["name"]: check for check in found}
    assert checks["toy_test:improve"]["measured"]["candidate_failed"] == failed.height // 2
    assert "have no loss" in checks["overfitting:gain-gap"]["message"]


def test_a_limit_takes_a_stratified_sample(fresh, tiny_model_folder):
    project, adapter = fresh
    project = made_project(project.root, tiny_model_folder, limit=6)
    items = pl.read_parquet(evaluate(project, adapter, QUIET).folder / "items.parquet")
    base = items.filter(pl.col("model") == "base")
    assert sorted(base["target"]) == ["no", "no", "yes", "yes", "yes", "yes"]


def test_a_prompt_that_training_did_not_see_is_refused(fresh, tiny_model_folder):
    project, adapter = fresh
    project = made_project(project.root, tiny_model_folder, task={"doc_to_text": "{{user}} Answer:"})
    with pytest.raises(UserError, match="another prompt than training used") as caught:
        evaluate(project, adapter, QUIET)
    assert "from character 0" in caught.value.problems[0].found
    assert list((project.runs / "evals").glob("*.partial")) == []


def test_the_model_s_template_gives_the_same_prompt(done, fresh, tiny_model_folder):
    """The task in lm-eval's own way, the harness applying the chat template, asks the same."""
    project, adapter = fresh
    own = {"doc_to_text": "user", "metadata": {"version": 1}}
    project = made_project(project.root, tiny_model_folder, task=own)
    items = pl.read_parquet(evaluate(project, adapter, QUIET).folder / "items.parquet")
    expected = pl.read_parquet(done[2].folder / "items.parquet")
    assert items["prompt_sha256"].to_list() == expected["prompt_sha256"].to_list()
    assert items["score"].to_list() == expected["score"].to_list()


def test_answers_outside_the_choices_are_refused(fresh, tiny_model_folder):
    project, adapter = fresh
    project = made_project(project.root, tiny_model_folder, task={"doc_to_choice": ["no", "maybe"]})
    with pytest.raises(UserError, match="the answer of 8 items is not among the choices"):
        evaluate(project, adapter, QUIET)


def test_an_adapter_of_another_base_model_is_refused(fresh, tmp_path):
    project, adapter = fresh
    other = write_tiny_model(tmp_path / "other", seed=1)
    with pytest.raises(UserError, match="trained on another base model"):
        evaluate(made_project(project.root, other), adapter, QUIET)


def test_a_changed_adapter_is_refused(fresh):
    project, adapter = fresh
    path = adapter / "adapter" / "adapter_model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(ManifestError, match="do not match their manifest"):
        evaluate(project, adapter, QUIET)


def test_an_adapter_without_a_list_of_its_rows_is_compared_with_the_whole_split(fresh, tiny_model_folder):
    project, _ = fresh
    shutil.rmtree(project.runs)
    dataset = made_dataset(project.root, tiny_model_folder, train=toy_rows(13))
    result = evaluate(project, made_adapter(project, dataset).path, QUIET)
    facts = json.loads((result.folder / "results.json").read_bytes())["overfitting"]
    assert facts["trained_rows"] == {"rows": 13, "comparable": 12, "listed": False}
    assert result.manifest.counts["trained_rows"] == 12  # the thirteenth stands alone, and no test row does


def test_an_adapter_that_names_no_dataset_is_refused(fresh):
    project, _ = fresh
    bare = Stage("train", "bare", {}, {}, (), "0", project.runs)
    finished = run_stage(bare, lambda folder: {})
    with pytest.raises(UserError, match="names no dataset"):
        evaluate(project, finished.path, QUIET)


# --------------------------------------------------------------------------------------------------- the gate


def test_the_verdict_rests_on_files_and_names_them(done, monkeypatch):
    project, adapter, result = done
    monkeypatch.setattr(harness, "run_task", None)
    verdict = judge_results(project, result.path)
    assert sorted(path.name for path in verdict.folder.iterdir()) == [
        "junit.xml",
        "manifest.json",
        "overfitting.html",
        "overfitting.md",
        "overfitting.txt",
        "verdict.html",
        "verdict.json",
        "verdict.md",
        "verdict.sarif",
    ]
    found = Verdict.model_validate(json.loads((verdict.folder / "verdict.json").read_bytes()))
    assert [check.name for check in found.checks] == [
        "toy_test:improve",
        "toy_test:beats-majority",
        "control:artifact",
        "control:base-placebo",
        "control:blind-classifier",
        "control:splits",
        "overfitting:gain-gap",
        "overfitting:heldout",
        "overfitting:drift",
        "overfitting:extraction",
        "overfitting:membership",
        "overfitting:validation-curve",
    ]
    judged = {"results", "adapter", "adapter_weights", "base_model", "dataset", "data_verdict", "config"}
    assert set(found.subject) == judged
    assert found.subject["adapter"] == adapter.manifest.content_digest
    assert found.subject["results"] == result.manifest.content_digest
    assert {ref.role for ref in verdict.manifest.inputs} == {"results", "adapter", "dataset", "data_verdict"}
    assert judge_results(project, result.path).reused


def test_an_adapter_that_does_nothing_is_not_called_improved(fresh, tiny_model_folder):
    project, _ = fresh
    shutil.rmtree(project.runs)
    dataset = made_dataset(project.root, tiny_model_folder, test=toy_rows(40, "t"))
    adapter = made_adapter(project, dataset, scale=0.0, rows=14)
    verdict = judge_results(project, evaluate(project, adapter.path, QUIET).path)
    checks = {c["name"]: c for c in json.loads((verdict.folder / "verdict.json").read_bytes())["checks"]}
    assert checks["toy_test:improve"]["measured"]["estimate"] == 0.0
    assert checks["toy_test:improve"]["outcome"] == Outcome.FAIL
    assert checks["control:splits"]["outcome"] == Outcome.FAIL  # the toy rows of both splits say the same
    assert "by itself it would be pass" in checks["overfitting:gain-gap"]["message"]
    assert checks["overfitting:drift"]["outcome"] == Outcome.PASS


def test_other_thresholds_are_another_verdict_on_the_same_results(done):
    project, _, result = done
    first = model_gate_stage(project, result.path)
    changed = project.config.gates.model.model_copy(update={"alpha": 0.1})
    gates = project.config.gates.model_copy(update={"model": changed})
    other = type(project)(project.path, project.config.model_copy(update={"gates": gates}), project.given)
    assert model_gate_stage(other, result.path).fingerprint != first.fingerprint
    assert model_gate_stage(other, result.path).inputs == first.inputs


def test_changed_results_are_refused(done, tmp_path):
    project, _, result = done
    shutil.copytree(project.runs, tmp_path / "runs")
    copied = tmp_path / "runs" / "evals" / result.folder.name
    path = copied / "losses.parquet"
    path.write_bytes(path.read_bytes() + b" ")
    with pytest.raises(ManifestError, match="do not match their manifest"):
        judge_results(project, copied / "manifest.json")
    shutil.rmtree(tmp_path / "runs" / "train")
    with pytest.raises(ManifestError, match="cannot be opened"):
        judge_results(project, copied / "manifest.json")


def test_the_results_of_a_rebuild_are_the_same_bytes(done, fresh):
    project, adapter = fresh
    assert evaluate(project, adapter, QUIET).manifest.files == done[2].manifest.files


def test_inputs_are_named(done):
    _, _, result = done
    assert [ref.role for ref in result.manifest.inputs if ref.role != "base_model"] == ["adapter", "dataset", "task"]
    assert evaluation.MODELS == ("base", "tuned")
    assert input_stage("results", result.path, result.folder).content == result.manifest.content_digest
