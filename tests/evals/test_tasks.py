import importlib.util
import json

import pytest
import yaml

from curate import configfile
from evals.documents import read_documents
from evals.tasks import Items, chosen, file_items, find_task, write_task
from schemas.errors import UserError

OWN = """
task: colours
dataset_path: json
dataset_kwargs: {data_files: {test: colours.jsonl}}
output_type: multiple_choice
doc_to_text: "{{question}}"
doc_to_choice: [red, blue]
doc_to_target: answer
"""


@pytest.fixture
def folder(tmp_path):
    rows = [{"question": f"colour {k}?", "answer": "red" if k % 2 else "blue"} for k in range(8)]
    (tmp_path / "colours.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    (tmp_path / "colours.yaml").write_text(OWN, "utf-8")
    return tmp_path


def test_a_task_is_found_beside_the_config(folder):
    task = find_task("colours", folder)
    assert task.config["task"] == "colours"
    assert task.split is None
    assert [path.name for path in task.files] == ["colours.yaml", "colours.jsonl"]


def test_a_task_beside_the_config_wins_over_one_that_ships(folder, tmp_path, monkeypatch):
    shipped = tmp_path / "shipped"
    shipped.mkdir()
    (shipped / "colours.yaml").write_text(OWN, "utf-8")
    (shipped / "other.yaml").write_text(OWN, "utf-8")
    (shipped / "colours.jsonl").write_text("{}\n", "utf-8")
    monkeypatch.setattr(configfile, "SHIPPED_SUITES", shipped)
    assert find_task("colours", folder).path == folder / "colours.yaml"
    assert find_task("other", folder).path == shipped / "other.yaml"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no task file for the suite 'colours'"),
        ("[1, 2]", "not a mapping"),
        ("task: [a", "cannot be read"),
        ("task: colours\ngroup: all\n", "one task, not a group"),
        ("include: other.yaml\n", "cannot include another"),
        ("dataset_path: hub/name\n", "does not say where its items are"),
        ("dataset_path: json\ndataset_kwargs: {data_files: {test: none.jsonl}}\n", "does not exist"),
        ("dataset_path: dataset:test\nprocess_docs: !function ../../evil.run\n", "beside the task file"),
        ("dataset_path: dataset:test\nprocess_docs: !function missing.run\n", "does not exist"),
        ("dataset_path: json\ndataset_kwargs: [1]\n", "does not name its files"),
        ("dataset_path: json\ndataset_kwargs: {data_files: 5}\n", "does not name its files"),
        ("dataset_path: json\ndataset_kwargs: {data_files: {test: [colours.jsonl]}}\n", "does not name its files"),
        ("dataset_path: dataset:train\ndoc_to_text: prompt\ndoc_to_target: answer\n", "kept out of training"),
        ("dataset_path: dataset:../../x\ndoc_to_text: prompt\ndoc_to_target: answer\n", "kept out of training"),
        ("dataset_path: dataset:test\ndoc_to_target: answer\n", "does not say what is asked"),
        ("dataset_path: dataset:test\ndoc_to_text: prompt\n", "or what the answer is"),
    ],
)
def test_task_files_that_cannot_be_used(folder, text, message):
    (folder / "colours.yaml").unlink()
    if text is not None:
        (folder / "colours.yaml").write_text(text, "utf-8")
    with pytest.raises(UserError, match=message):
        find_task("colours", folder)


@pytest.mark.parametrize("split", ["test", "validation"])
def test_a_task_may_ask_rows_that_were_not_trained(folder, split):
    (folder / "colours.yaml").write_text(f"dataset_path: dataset:{split}\ndoc_to_text: a\ndoc_to_target: b\n", "utf-8")
    assert find_task("colours", folder).split == split


@pytest.mark.parametrize("name", ["../colours", "a/colours", "/colours", "", ".colours", "colours\n", "a" * 101])
def test_a_suite_is_a_name_and_not_a_path(folder, name):
    with pytest.raises(UserError, match="without folders"):
        find_task(name, folder / "a")


def test_yaml_cannot_run_code(folder):
    (folder / "colours.yaml").write_text("task: !!python/object/apply:os.system ['true']\n", "utf-8")
    with pytest.raises(UserError, match="cannot be read"):
        find_task("colours", folder)


def test_items_have_stable_names_and_a_limit_takes_the_same_for_any_order(folder):
    task = find_task("colours", folder)
    everything = file_items(task, None, 0)
    assert len(set(everything.ids)) == 8
    some = file_items(task, 3, 0)
    lines = (folder / "colours.jsonl").read_text("utf-8").splitlines()
    (folder / "colours.jsonl").write_text("\n".join(reversed(lines)) + "\n", "utf-8")
    assert set(file_items(task, 3, 0).ids) == set(some.ids)
    assert set(file_items(task, 3, 1).ids) != set(some.ids)
    assert set(some.ids) < set(everything.ids)


def test_a_larger_limit_only_adds_items():
    ids = [f"item{k}" for k in range(50)]
    assert set(chosen(ids, 10, 0)) < set(chosen(ids, 20, 0))
    assert chosen(ids, 60, 0) == chosen(ids, None, 0) == list(range(50))


def test_repeated_items_keep_their_count_and_share_a_cluster(folder):
    line = json.dumps({"question": "same?", "answer": "red"}) + "\n"
    (folder / "colours.jsonl").write_text(line * 3 + line.replace("same", "other"), "utf-8")
    items = file_items(find_task("colours", folder), None, 0)
    assert len(items.ids) == len(set(items.ids)) == 4
    assert items.clusters[0] == items.clusters[1] == items.clusters[2] != items.clusters[3]


def test_no_items_is_an_error(folder):
    (folder / "colours.jsonl").write_text("\n", "utf-8")
    with pytest.raises(UserError, match="the task has no items"):
        file_items(find_task("colours", folder), None, 0)


@pytest.mark.parametrize(
    ("name", "text"),
    [("a.jsonl", '{"x": 1}\n\n{"x": 2}\n'), ("a.json", '[{"x": 1}, {"x": 2}]'), ("a.csv", "x\n1\n2\n")],
)
def test_documents_of_each_form(tmp_path, name, text):
    (tmp_path / name).write_text(text, "utf-8")
    assert read_documents(tmp_path / name) == [{"x": 1}, {"x": 2}]


@pytest.mark.parametrize("text", ["{broken", "[1]\n", '"text"\n'])
def test_files_that_hold_no_records(tmp_path, text):
    (tmp_path / "a.jsonl").write_text(text, "utf-8")
    with pytest.raises(UserError, match="the items of a task"):
        read_documents(tmp_path / "a.jsonl")


def test_a_resolved_task_names_no_other_place_and_reads_from_anywhere(folder, tmp_path, monkeypatch):
    task = find_task("colours", folder)
    items = file_items(task, 5, 0)
    write_task(task, items, tmp_path / "resolved", "lm_eval ...")
    text = (tmp_path / "resolved" / "colours.yaml").read_text("utf-8")
    assert str(folder) not in text
    assert "dataset_path" not in text
    monkeypatch.chdir("/")
    spec = importlib.util.spec_from_file_location("copied", tmp_path / "resolved" / "read_items.py")
    assert spec is not None
    assert spec.loader is not None
    copied = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(copied)
    splits = copied.read_items(files={"test": "colours.jsonl"}, version=1)
    assert splits["test"].to_list() == items.documents


def test_python_of_a_task_travels_with_it(folder, tmp_path):
    (folder / "own.py").write_text("def keep(docs):\n    return docs\n", "utf-8")
    (folder / "colours.yaml").write_text(OWN + "process_docs: !function own.keep\n", "utf-8")
    task = find_task("colours", folder)
    assert folder / "own.py" in task.files
    write_task(task, Items([{"question": "?", "answer": "red"}], ["a"], [0]), tmp_path / "resolved", "lm_eval")
    assert (tmp_path / "resolved" / "own.py").read_bytes() == (folder / "own.py").read_bytes()
    assert "!function 'own.keep'" in (tmp_path / "resolved" / "colours.yaml").read_text("utf-8")


def test_the_spam_task_is_over_the_test_split(pytestconfig):
    examples = pytestconfig.rootpath / "examples" / "spam"
    task = find_task("spam_test", examples)
    assert task.split == "test"
    assert task.data_files == {}
    assert yaml.safe_load((examples / "spam_test.yaml").read_text("utf-8"))["doc_to_choice"] == ["ham", "spam"]
