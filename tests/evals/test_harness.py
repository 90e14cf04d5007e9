"""Against plain lm-eval: the same items, the same log-likelihoods, the same scores."""

import json
import os
import subprocess
import sys

import lm_eval
import polars as pl
import pytest
from lm_eval.models.huggingface import HFLM
from lm_eval.tasks import TaskManager

from evals import harness
from evals.decoding import GreedyDecoder
from evals.run import evaluate
from schemas.errors import UserError
from schemas.progress import Progress
from tests.evals.made_adapter import made_project

GENERATE = {
    "output_type": "generate_until",
    "doc_to_choice": None,
    "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
    "generation_kwargs": {"until": ["<|im_end|>"], "do_sample": False, "max_gen_toks": 4},
}
QUIET = Progress(quiet=True)


def plain(folder, task, model, adapter=None, *, batch_size=3, **options):
    """What lm-eval's own command line would do with a resolved task, from another working directory."""
    with harness.quiet():
        lm = HFLM(
            pretrained=str(model),
            peft=str(adapter) if adapter else None,
            dtype="float32",
            device="cpu",
            batch_size=batch_size,
        )
        return lm_eval.simple_evaluate(
            model=lm,
            tasks=[task],
            task_manager=TaskManager(include_path=str(folder), include_defaults=False),
            bootstrap_iters=0,
            log_samples=True,
            **options,
        )


def items_of(result, model):
    items = pl.read_parquet(result.folder / "items.parquet")
    return items.filter(pl.col("model") == model).sort("position")


@pytest.mark.parametrize("model", ["base", "tuned"])
def test_multiple_choice_agrees_with_plain_lm_eval(done, tiny_model_folder, tmp_path, monkeypatch, model):
    _, adapter, result = done
    monkeypatch.chdir(tmp_path)
    theirs = plain(
        result.folder / "tasks", "toy_test", tiny_model_folder, adapter.folder / "adapter" if model == "tuned" else None
    )
    ours = items_of(result, model)
    assert theirs["results"]["toy_test"]["acc,none"] == pytest.approx(ours["score"].mean())
    samples = sorted(theirs["samples"]["toy_test"], key=lambda sample: sample["doc_id"])
    assert [sample["doc"]["item_id"] for sample in samples] == ours["item_id"].to_list()
    assert [sample["acc"] for sample in samples] == ours["score"].to_list()
    for sample, detail in zip(samples, ours["detail"], strict=True):
        found = json.loads(detail)["log_likelihoods"]
        assert found == pytest.approx([response[0][0] for response in sample["resps"]], abs=1e-4)


def test_generation_agrees_with_plain_lm_eval(fresh, tiny_model_folder):
    project, adapter = fresh
    project = made_project(project.root, tiny_model_folder, task=GENERATE)
    result = evaluate(project, adapter, QUIET)
    theirs = plain(result.folder / "tasks", "toy_test", tiny_model_folder, adapter / "adapter")
    ours = items_of(result, "tuned")
    samples = sorted(theirs["samples"]["toy_test"], key=lambda sample: sample["doc_id"])
    assert [sample["filtered_resps"][0] for sample in samples] == ours["prediction"].to_list()
    assert [sample["exact_match"] for sample in samples] == ours["score"].to_list()


def test_a_generation_that_fails_has_no_score(fresh, tiny_model_folder, monkeypatch):
    project, adapter = fresh
    project = made_project(project.root, tiny_model_folder, task=GENERATE)
    whole = HFLM.generate_until

    def failing(lm, requests, **options):
        if any("bad" in request.args[0] for request in requests):
            raise RuntimeError("out of memory")
        return whole(lm, requests, **options)

    monkeypatch.setattr(HFLM, "generate_until", failing)
    own = GreedyDecoder._decode

    def refusing(decoder, batch, *args, **options):
        if any(answer.ask.prompt in refused for answer in batch):
            raise RuntimeError("out of memory")
        return own(decoder, batch, *args, **options)

    asked = harness.SharedLM._ask

    def noting(lm, request):
        ask = asked(lm, request)
        if ask and "bad" in request.args[0]:
            refused.add(ask.prompt)
        return ask

    refused: set[tuple[int, ...]] = set()
    monkeypatch.setattr(GreedyDecoder, "_decode", refusing)
    monkeypatch.setattr(harness.SharedLM, "_ask", noting)
    items = items_of(evaluate(project, adapter, QUIET), "tuned")
    assert items.filter(pl.col("score").is_null())["target"].to_list() == ["no"] * 4
    assert items.filter(pl.col("score").is_not_null()).height == 8


def test_items_from_a_file_of_their_own(fresh, tiny_model_folder):
    project, adapter = fresh
    rows = [{"question": f"colour {k}", "options": ["red", "blue"], "gold": k % 2} for k in range(12)]
    (project.root / "colours.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    own = {
        "dataset_path": "json",
        "dataset_kwargs": {"data_files": {"test": "colours.jsonl"}},
        "doc_to_text": "question",
        "doc_to_choice": "options",
        "doc_to_target": "gold",
        "metadata": {"chat_template": "none"},
    }
    project = made_project(project.root, tiny_model_folder, task=own, limit=8)
    result = evaluate(project, adapter, QUIET)
    items = items_of(result, "base")
    assert items.height == 8
    assert set(items["target"]) == {"red", "blue"}
    about = json.loads((result.folder / "results.json").read_bytes())["tasks"]["toy_test"]
    assert about["split"] is None
    assert "not rows of the dataset" in about["no_references"]
    theirs = plain(result.folder / "tasks", "toy_test", tiny_model_folder)
    assert theirs["results"]["toy_test"]["acc,none"] == pytest.approx(items["score"].mean())


@pytest.mark.parametrize("name", ["brier_score", "no_such_metric"])
def test_a_metric_without_a_value_for_each_item_is_refused(fresh, tiny_model_folder, name):
    project, adapter = fresh
    metric = [{"metric": name, "aggregation": name, "higher_is_better": False}]
    project = made_project(project.root, tiny_model_folder, task={"metric_list": metric})
    with pytest.raises(UserError, match="no value for a single item"):
        evaluate(project, adapter, QUIET)


def test_a_task_that_lm_eval_cannot_run_is_named(fresh, tiny_model_folder):
    project, adapter = fresh
    project = made_project(project.root, tiny_model_folder, task={"doc_to_target": "{{ nonsense.field }}"})
    with pytest.raises(UserError, match="lm-eval cannot run this task") as caught:
        evaluate(project, adapter, QUIET)
    assert "nonsense" in caught.value.problems[0].found


def test_the_harness_keeps_the_streams_clean(fresh, capfd):
    project, adapter = fresh
    evaluate(project, adapter, QUIET)
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err == ""


@pytest.mark.slow
def test_the_command_line_of_lm_eval_runs_the_resolved_task(done, tiny_model_folder, tmp_path):
    _, adapter, result = done
    model = f"pretrained={tiny_model_folder},peft={adapter.folder / 'adapter'},dtype=float32"
    command = [
        "--model",
        "hf",
        "--model_args",
        model,
        "--include_path",
        str(result.folder / "tasks"),
        "--device",
        "cpu",
    ]
    output = ["--tasks", "toy_test", "--output_path", str(tmp_path / "out")]
    done_there = subprocess.run(
        [sys.executable, "-m", "lm_eval", *command, *output],
        cwd=tmp_path,
        env=os.environ | {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hub")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done_there.returncode == 0, done_there.stderr[-2000:]
    (written,) = (tmp_path / "out").rglob("results_*.json")
    found = json.loads(written.read_bytes())["results"]["toy_test"]["acc,none"]
    assert found == pytest.approx(items_of(result, "tuned")["score"].mean())
