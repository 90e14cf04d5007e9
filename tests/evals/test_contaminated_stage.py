"""From rows that hold items of a task file, through curation and the evals stage, to marked items and two scores."""

import json

import polars as pl
import pytest
import yaml

import assay
from curate.configfile import load_project
from curate.pipeline import curate
from evals.run import evals_stage, evaluate
from schemas.progress import Progress
from tests.evals.made_adapter import TASK, made_adapter
from tests.toy_project import ToyProject

PLACES = ["the mill", "the old harbour", "a northern island", "the glass works", "our library", "that narrow bridge"]
DOINGS = ["close early in winter", "have a warden at night", "lend boats to visitors"]
QUESTIONS = [f"Does the council say that {place} will {doing} from now on?" for place in PLACES for doing in DOINGS]
HELD, NAMED = QUESTIONS[:12], "council"
OTHER = [f"Is entry {n} of the long list in chapter {n * 37 % 101} a {n * 7919} or a {n * 31}?" for n in range(40)]


def write_sources(folder, model):
    items = [{"question": question, "answer": n % 2} for n, question in enumerate(QUESTIONS)]
    (folder / "council.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items), "utf-8")
    task = {
        **TASK, "task": NAMED, "dataset_path": "json", "dataset_kwargs": {"data_files": {"test": "council.jsonl"}},
        "test_split": "test", "doc_to_text": "question",
    }  # fmt: skip
    (folder / f"{NAMED}.yaml").write_text(yaml.safe_dump(task), "utf-8")
    rows = [{"prompt": text, "completion": ("yes", "no")[n % 2]} for n, text in enumerate(HELD + OTHER)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    config = {
        "name": "toy",
        "data": {"sources": ["rows.jsonl"]},
        "curate": {"steps": ["schema", "contamination"], "rules": {"eval-item": {"action": "keep"}}},
        "gates": {"model": {"tasks": {NAMED: {"must": "improve", "detect": 0.2}}}},
        "evals": {"suites": [NAMED], "batch_size": 4},
        "train": {"base_model": str(model), "max_examples": None, "lora": {"r": 4}},
    }
    (folder / "assay.yaml").write_text(yaml.safe_dump(config), "utf-8")
    return config


@pytest.mark.parametrize("how", ["task file", "index", "keyed index", "keyed index without its key"])
def test_items_of_a_task_file_in_trained_rows_are_marked(tmp_path, tiny_model_folder, how, monkeypatch, capsys):
    config = write_sources(tmp_path, tiny_model_folder)
    if how != "task file":
        build = ["index", "build", "--kind", "contamination", str(tmp_path / "council.yaml")]
        keyed = ["--keyed", "--key-file", str(tmp_path / "key")] if "keyed" in how else []
        assert assay.run([*build, "--out", str(tmp_path / "items.index"), *keyed]) == 0
        monkeypatch.setenv("ASSAY_INDEX_KEY", (tmp_path / "key").read_text() if keyed else "")
        # The suite's own file is compared only where the config names the suite.
        without = config["data"] | {"index": ["items.index"]}
        evals = config["evals"] | {"suites": ["none"]}
        tasks = {"model": {"tasks": {"none": {"must": "improve", "detect": 0.2}}}}
        (tmp_path / "data.yaml").write_text(yaml.safe_dump(config | {"data": without, "evals": evals, "gates": tasks}))
    dataset = curate(load_project(tmp_path / ("assay.yaml" if how == "task file" else "data.yaml")))
    said = json.loads((dataset.folder / "contamination.json").read_bytes())
    assert [entry["items_hit"]["question-and-answer"] + entry["items_hit"]["question"] for entry in said["sets"]] == [
        12
    ]
    ToyProject(tmp_path, tiny_model_folder).verdict(dataset)
    project = load_project(tmp_path / "assay.yaml")
    adapter = made_adapter(project, dataset)
    if how == "keyed index without its key":
        monkeypatch.delenv("ASSAY_INDEX_KEY")
    result = evaluate(project, adapter.path, Progress(quiet=True))
    marks = json.loads((result.folder / "results.json").read_bytes())["tasks"][NAMED]["contamination"]
    if how == "keyed index without its key":
        assert (marks["not_scanned"], marks["touched"]) == (len(QUESTIONS), {})
        monkeypatch.setenv("ASSAY_INDEX_KEY", (tmp_path / "key").read_text())
        assert evals_stage(project, adapter.path).folder != result.folder, "with the key it is another result"
        return
    trained = (dataset.folder / "data" / "train.jsonl").read_text("utf-8")
    answers = pl.read_parquet(result.folder / "items.parquet").filter(pl.col("task") == NAMED)
    names = dict(zip(QUESTIONS, item_names(tmp_path / "council.jsonl"), strict=True))
    seen = {names[question] for question in HELD if question in trained}
    assert 6 <= len(seen) <= 12, "most rows are trained on"
    assert marks["not_scanned"] == 0
    # Questions that differ in the place alone are half in rows that hold another one.
    assert {item["item_id"] for item in marks["items"] if item["grade"] in said["gating"]} == seen
    assert sum(marks["touched"].get(grade, 0) for grade in said["gating"]) == len(seen)
    for score in marks["scores"]:
        own = answers.filter(pl.col("model") == score["model"])
        assert score["with"] == pytest.approx(own["score"].mean())
        assert score["without"] == pytest.approx(own.filter(~pl.col("item_id").is_in(seen))["score"].mean())
        assert score["items_without"] == len(QUESTIONS) - len(seen)
    assert {score["model"] for score in marks["scores"]} >= {"base", "tuned"}


def item_names(path):
    from schemas.base import canonical_json, digest

    return [digest(canonical_json(json.loads(line)))[:16] for line in path.read_text("utf-8").splitlines()]
