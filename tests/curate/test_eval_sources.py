"""Where eval items come from, what an audit, a curation and the data gate say of them, and what was not compared."""

import json

import polars as pl
import pytest
import yaml

import assay
from curate.contamination.account import contamination_file, searched_sets
from curate.contamination.items import eval_items
from curate.contamination.search import search
from curate.contamination.tasks import eval_sources
from curate.readers import read_corpus
from schemas.base import canonical_json, digest
from schemas.errors import UserError
from tests.curate.made_rows import chat, distinct_rows, lines_of

QUESTION = (
    "A farmer has twelve sheep, 4 dogs and 17 hens, and sells all but five of the sheep. How many animals are left?"
)
ITEM = {"frage": QUESTION, "loesung": "26", "note": "a long text of no interest that is longer than the question " * 3}
TASK = {
    "task": "farm",
    "dataset_path": "json",
    "dataset_kwargs": {"data_files": {"test": "farm.jsonl", "train": "other.jsonl"}},
    "doc_to_text": "Think!\n{{ frage }}\nAnswer:",
    "doc_to_target": "loesung",
}


def task_file(folder, **changes):
    (folder / "farm.jsonl").write_bytes(lines_of([ITEM]))
    path = folder / "farm.yaml"
    path.write_text(yaml.safe_dump(TASK | changes), "utf-8")
    return path


def test_a_task_file_stands_for_the_items_that_it_asks(tmp_path):
    path = task_file(tmp_path)
    found = eval_sources([path])
    assert list(found) == [tmp_path / "farm.jsonl"]
    evals = read_corpus((), evals=found).evals
    assert evals is not None
    item = next(eval_items(evals))
    assert (item.eval_set, item.question, item.answers) == ("farm", QUESTION, ("26",))


def test_fields_of_python_are_guessed(tmp_path):
    path = task_file(tmp_path)
    path.write_text("task: farm\ndoc_to_text: !function x.y\ndataset_kwargs: {data_files: farm.jsonl}\n", "utf-8")
    assert [task and task.question for task in eval_sources([path]).values()] == [()]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("task: x\ndataset_path: gsm8k", "not on this machine"),
        ("[1, 2]", "not a mapping"),
        ("a: [", "cannot be read"),
    ],
)
def test_a_task_without_items_here_is_refused(tmp_path, text, said):
    (tmp_path / "t.yaml").write_text(text, "utf-8")
    with pytest.raises(UserError, match=said):
        eval_sources([tmp_path / "t.yaml"])


def test_the_audit_says_of_each_eval_set_what_the_rows_hold(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    task_file(tmp_path)
    (tmp_path / "broken.jsonl").write_bytes(b'{"question": "?!", "answer": "x"}\n{"question": \n' + lines_of([ITEM]))
    (tmp_path / "rows.jsonl").write_bytes(lines_of([*distinct_rows(5), chat(f"Well: {QUESTION}", "26 of them")]))
    command = ["audit", "rows.jsonl", "--against", "farm.yaml", "--against", "broken.jsonl", "--select", "LEK"]
    assert assay.run(command) == 1
    text = capsys.readouterr().out
    assert "eval set farm: 1 items; in the rows: 1 question-and-answer" in text
    assert "eval set broken: 3 items; in the rows: none; 2 not compared" in text
    assert "of the eval files 1 records could not be read" in text
    assert "item  a farmer has twelve sheep" in text
    assert assay.run([*command, "--format", "json"]) == 1
    found = json.loads(capsys.readouterr().out)
    farm = found["stats"]["eval_sets"][0]
    assert (farm["eval_set"], farm["items_hit"]["question-and-answer"], farm["not_compared"]) == ("farm", 1, 0)
    hit = next(f for f in found["findings"] if f["code"] == "LEK401")
    assert (hit["line"], hit["turn"], hit["evidence"]["twin"]["path"]) == (6, 0, "farm.jsonl")
    assert hit["evidence"]["scores"]["exact"] == 1.0
    assert {"coverage", "overlap", "longest"} <= hit["evidence"]["scores"].keys()
    assert hit["evidence"]["row_words"] == hit["evidence"]["item_words"]
    unscanned = next(f for f in found["findings"] if f["code"] == "LEK406")["evidence"]
    assert (unscanned["without_words"], unscanned["unread"]) == (1, 1)
    assert [(entry["path"], entry["line"]) for entry in unscanned["first_unread"]] == [("broken.jsonl", 2)]
    assert assay.run([*command, "--format", "html"]) == 1
    assert "eval set farm: 1 items" in capsys.readouterr().out


def test_an_eval_file_without_items_is_not_clean(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty.jsonl").write_bytes(b"")
    (tmp_path / "rows.jsonl").write_bytes(lines_of(distinct_rows(3)))
    assert assay.run(["audit", "rows.jsonl", "--against", "empty.jsonl", "--select", "LEK"]) == 4
    assert "of 0 eval items" in capsys.readouterr().out


LINES = [json.dumps({"question": f"{QUESTION} Caf\u00e9 {n}?", "answer": str(n)}, ensure_ascii=False) for n in range(4)]
TEXT = "\n".join(LINES) + "\n"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_eval_files_in_wide_encodings_are_refused(tmp_path, encoding, capsys):
    (tmp_path / "items.jsonl").write_bytes(TEXT.encode(encoding))
    (tmp_path / "rows.jsonl").write_bytes(lines_of(distinct_rows(3)))
    items = str(tmp_path / "items.jsonl")
    assert assay.run(["audit", str(tmp_path / "rows.jsonl"), "--against", items]) == 2
    assert "iconv -f UTF-" in capsys.readouterr().err
    assert assay.run(["index", "build", "--kind", "contamination", items, "--out", str(tmp_path / "index")]) == 2
    assert not (tmp_path / "index").exists()


@pytest.mark.parametrize(
    ("data", "unread"),
    [
        (TEXT.encode("latin-1"), 4),
        (TEXT.encode().replace(b"\xc3\xa9 2", b"\xc3 2"), 1),
        (TEXT.encode().replace(b"\xc3\xa9 2", b"\0"), 1),
        (TEXT.encode() + b"\0" * 600, 1),
        (TEXT.encode()[:-20], 1),
    ],
    ids=["latin-1", "broken UTF-8", "NUL", "NULs behind", "cut off"],
)
def test_records_that_cannot_be_read_are_counted_and_leave_an_audit_inconclusive(tmp_path, data, unread, capsys):
    (tmp_path / "items.jsonl").write_bytes(data)
    (tmp_path / "rows.jsonl").write_bytes(lines_of(distinct_rows(3)))
    audit, index = ["audit", str(tmp_path / "rows.jsonl"), "--select", "LEK", "--format", "json"], tmp_path / "index"
    assert assay.run([*audit, "--against", str(tmp_path / "items.jsonl")]) == 4
    assert json.loads(capsys.readouterr().out)["stats"]["eval_records_unread"] == unread
    build = ["index", "build", "--kind", "contamination", str(tmp_path / "items.jsonl"), "--out", str(index)]
    if unread == 4:
        assert assay.run(build) == 4
        assert "4 records that cannot be read, the first one at" in capsys.readouterr().err
        return
    assert assay.run(build) == 0
    assert f"{unread} items unread" in capsys.readouterr().out
    assert assay.run([*audit, "--index", str(index)]) == 4
    (finding,) = json.loads(capsys.readouterr().out)["findings"]
    assert (finding["code"], finding["evidence"]["unread"]) == ("LEK406", unread)
    assert assay.run(["index", "query", str(index), str(tmp_path / "rows.jsonl")]) == 4


def test_an_eval_set_that_is_the_training_set_is_found_in_every_row(tmp_path):
    (tmp_path / "rows.jsonl").write_bytes(
        lines_of([*distinct_rows(60), chat("Hi", "Hello"), chat("Go on.", "So be it.")])
    )
    path = tmp_path / "rows.jsonl"
    corpus = read_corpus([path], evals=[path])
    search(corpus)
    (entry,) = searched_sets(corpus)["eval_sets"]
    assert entry["rows_hit"]["question-and-answer"] == entry["items"] == 62


def test_no_table_where_nothing_was_searched(tmp_path):
    (tmp_path / "rows.jsonl").write_bytes(lines_of(distinct_rows(3)))
    assert searched_sets(read_corpus([tmp_path / "rows.jsonl"])) == {}


def test_a_dataset_names_the_items_that_touch_it(tmp_path):
    task_file(tmp_path)
    rows = [*distinct_rows(4), chat(QUESTION, "26"), chat(QUESTION.replace("17", "19"), "28"), chat(QUESTION, "26")]
    (tmp_path / "rows.jsonl").write_bytes(lines_of(rows))
    corpus = read_corpus([tmp_path / "rows.jsonl"], evals=eval_sources([tmp_path / "farm.yaml"]))
    found = contamination_file(corpus, pl.Series(["train"] * 4 + ["test", "train", "test"]))
    name = digest(canonical_json(ITEM))[:16]
    assert found["scanned"] == [name]
    (item,) = found["items"]
    assert (item["item_id"], item["eval_set"], item["grade"]) == (name, "farm", "question-and-answer")
    assert item["rows"] == {"test": {"question-and-answer": 2}, "train": {"variant": 1}}
    (entry,) = searched_sets(corpus)["eval_sets"]
    assert entry["rows_hit"] == {
        "question-and-answer": 2, "question": 0, "variant": 1, "answer": 0, "partial": 0,
    }  # fmt: skip
    assert entry["items_hit"]["question-and-answer"] == 1
    assert entry["items_hit"]["variant"] == 0
