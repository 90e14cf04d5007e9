"""lm-eval's own tasks by name, with their data replaced by a few rows."""

import datasets
import polars as pl
import pytest
from lm_eval.tasks import TaskManager

from evals import harness
from evals.built_in import _renamed, built_in_items
from evals.run import evaluate
from evals.tasks import Reference, find_task, write_task
from schemas.errors import UserError
from schemas.progress import Progress
from tests.evals.made_adapter import made_project


@pytest.fixture
def data(monkeypatch):
    """Two splits as GSM8K has them, instead of what a hub would give."""
    rows = [{"question": f"How much is {k} + 1?", "answer": f"It is {k + 1}. #### {k + 1}"} for k in range(12)]
    found = datasets.DatasetDict(
        {"train": datasets.Dataset.from_list(rows[:6]), "test": datasets.Dataset.from_list(rows[6:])}
    )
    monkeypatch.setattr(datasets, "load_dataset", lambda *_, **__: found)
    harness.built_in_documents.cache_clear()
    yield found
    harness.built_in_documents.cache_clear()


def test_the_resolved_task_asks_what_lm_eval_asks(data, tmp_path):
    whole, items = built_in_items(find_task("gsm8k", tmp_path), None, 0, network=False)
    assert items.documents == data["test"].to_list()
    write_task(whole, items, tmp_path / "resolved", "lm_eval")
    with harness.quiet():
        theirs = harness._own_tasks().load(["gsm8k"])["tasks"]["gsm8k"]
        ours = TaskManager(include_path=str(tmp_path / "resolved"), include_defaults=False).load(["gsm8k"])
        asked = []
        for task in (theirs, ours["tasks"]["gsm8k"]):
            task.set_fewshot_seed(seed=1234)
            asked.append([task.fewshot_context(document, 5) for document in task.eval_docs])
    assert asked[0] == asked[1]
    assert asked[0][0].count("Question:") == 6


def test_a_task_of_lm_eval_is_scored(data, fresh, tiny_model_folder):
    project, adapter = fresh
    project = made_project(project.root, tiny_model_folder, suites=["toy_test", "gsm8k"], limit=2)
    items = pl.read_parquet(evaluate(project, adapter, Progress(quiet=True)).folder / "items.parquet")
    assert items.filter(pl.col("task") == "gsm8k").group_by("model").len().sort("model").rows() == [
        ("base", 2),
        ("tuned", 2),
    ]


def test_python_of_lm_eval_is_named_where_it_lies(data, tmp_path):
    task = find_task("gsm8k_cot_zeroshot", tmp_path)
    assert task.built_in
    folder = harness.TASK_FOLDER / "ifeval"
    found = _renamed({"process_results": [Reference("utils.process_results")]}, folder, harness.TASK_FOLDER)
    assert found == {"process_results": ["lm_eval.tasks.ifeval.utils.process_results"]}


def test_without_network_the_data_must_be_here(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    harness.built_in_documents.cache_clear()
    with pytest.raises(UserError, match="data of this task of lm-eval cannot be reached") as caught:
        built_in_items(find_task("sciq", tmp_path), None, 0, network=False)
    assert "evals.network: true" in caught.value.problems[0].help


def test_a_group_is_not_one_task(tmp_path):
    with pytest.raises(UserError, match="one task, not a group"):
        find_task("mmlu", tmp_path)
