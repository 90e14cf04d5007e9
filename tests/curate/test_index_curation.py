"""Curating and auditing against an index of earlier rows, and the commands that make and ask one."""

import json
from pathlib import Path
from typing import Any

import orjson
import polars as pl
import pytest

import assay
from curate import indexes
from curate.earlier import index_rows
from curate.indexes import open_indexes
from curate.indexing import add_to_index, build_index
from curate.pipeline import curate, run_pipeline
from curate.readers import read_corpus
from curate.row_store import add_rows, build_rows
from curate.rules.near_duplicate import EDITED, STORY
from schemas.base import file_digest
from schemas.errors import ExitCode
from schemas.progress import SILENT
from tests.curate.made_rows import (
    WORDS,
    chat,
    corpus_from,
    distinct_rows,
    lines_of,
    make_project,
    read_json,
    twins,
    write_rows,
)
from tests.curate.test_index_rows import story

# ---------------------------------------------------------------------------------------------------- curation


def reasons(folder):
    dropped = pl.read_parquet(folder / "dropped.parquet")
    return {
        row["row"]: (row["code"], row["survivor_path"], row["survivor_line"], row["survivor_row_id"])
        for row in dropped.iter_rows(named=True)
    }


def test_curation_drops_exactly_what_the_earlier_dataset_holds(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    old = [*distinct_rows(60), {"text": STORY}]
    new = [*distinct_rows(40, start=50), {"text": EDITED}, chat("A new one", "with an answer")]
    write_rows(tmp_path / "old.jsonl", old)
    build_rows(tmp_path / "i", index_rows(read_corpus([Path("old.jsonl")])))
    project = make_project(tmp_path / "p", new, data={"sources": ["rows.jsonl"], "index": ["../i"]})
    done = curate(project)
    ledger = read_json(done.folder / "ledger.json")
    assert ledger["by_rule"] == {"DUP211": 11}
    assert ledger["rows_in"] == 42 == ledger["rows_kept"] + ledger["rows_dropped"]
    assert [step["name"] for step in ledger["steps"]].index("earlier-duplicate") < [
        step["name"] for step in ledger["steps"]
    ].index("exact-duplicate")
    found = reasons(done.folder)
    ids = index_rows(corpus_from(*old))["row_id"].to_list()
    assert found == {
        **{n: ("DUP211", "old.jsonl", 51 + n, ids[50 + n]) for n in range(10)},
        40: ("DUP211", "old.jsonl", 61, ids[60]),
    }
    assert [ref.path for ref in done.manifest.inputs if ref.role == "index"] == ["../../../../i/index-000001.json"]


def test_without_an_index_nothing_of_it_is_in_the_ledger(tmp_path):
    made = run_pipeline(make_project(tmp_path, distinct_rows(20)))
    assert not [step for step in made.ledger.steps if step.name.startswith("earlier")]


def test_redacted_rows_are_found_again_by_the_raw_rows_that_they_were(tmp_path, capsys, monkeypatch):
    """The next delivery holds a row of the last one: the index of the curated dataset knows it, redacted."""
    monkeypatch.chdir(tmp_path)
    secret = [chat(f"Write to ann.{word}@{word}mail.com about {story(n)}", "Done.") for n, word in enumerate(WORDS[:5])]
    first = make_project(tmp_path / "one", [*distinct_rows(30), *secret])
    run = curate(first)
    assert read_json(run.folder / "ledger.json")["rows_changed"] == 5
    command = ["index", "build", "--kind", "duplicates", str(run.folder), "--out", "i", "--quiet"]
    assert assay.run(command) == ExitCode.PASS
    second = make_project(tmp_path / "two", [*secret, *distinct_rows(25, start=100)])
    named = {"i": tmp_path / "i", "manifest": run.path, "folder": run.folder}
    for name, path in named.items():  # a dataset does as well as an index of it
        capsys.readouterr()
        assert assay.run(["curate", str(second.path), "--index", str(path), "--quiet"]) == ExitCode.PASS, name
        folder = (tmp_path / capsys.readouterr().out.strip()).parent
        assert read_json(folder / "ledger.json")["by_rule"] == {"DUP211": 5}
        for file, line in [(file, line) for _, file, line, _ in reasons(folder).values()]:
            assert Path(file).parent.name == "data"
            assert "<mail-" in Path(file).read_text().split("\n")[line - 1], (name, file, line)


def test_a_whole_dataset_again_leaves_nothing(tmp_path, capsys):
    project = make_project(tmp_path, distinct_rows(20))
    run = curate(project)
    assert assay.run(["curate", str(project.path), "--index", str(run.folder)]) == ExitCode.INCONCLUSIVE
    assert "every row was dropped" in capsys.readouterr().err


def test_the_index_is_an_input_and_its_state_is_kept_for_the_chain(tmp_path, capsys):
    build_rows(tmp_path / "i", index_rows(corpus_from(*distinct_rows(5))))
    project = make_project(tmp_path / "p", distinct_rows(30), data={"sources": ["rows.jsonl"], "index": ["../i"]})
    done = curate(project)
    assert curate(project).reused
    add_rows(tmp_path / "i", index_rows(corpus_from(*distinct_rows(5, start=10))))
    assert assay.run(["verify", str(done.folder)]) == ExitCode.PASS, "the state that it used is still there"
    again = curate(project)
    assert not again.reused
    assert again.manifest.counts["rows_dropped"] == 10
    for path in (done.folder, tmp_path / "i"):
        capsys.readouterr()
        assert assay.run(["verify", str(path)]) == ExitCode.PASS
    file = tmp_path / "i" / "segment-000001" / "line.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"\x07")
    for path in (done.folder, tmp_path / "i"):
        assert assay.run(["verify", str(path)]) == ExitCode.FAIL
        assert "line.npy: changed" in capsys.readouterr().out


def test_the_rule_may_stand_where_the_config_puts_it(tmp_path):
    build_rows(tmp_path / "i", index_rows(corpus_from(*distinct_rows(5))))
    data = {"sources": ["rows.jsonl"], "index": ["../i"]}
    rules = {"earlier-duplicate": {"action": "keep"}}
    steps = {"steps": ["exact-duplicate", "earlier-duplicate"], "rules": rules}
    made = run_pipeline(make_project(tmp_path / "p", distinct_rows(30), data=data, curate=steps))
    assert [step.name for step in made.ledger.steps] == ["exact-duplicate", "earlier-duplicate"]
    assert (made.kept.height, made.remaining["DUP211"].rows) == (30, 5)


# ---------------------------------------------------------------------------------------------------- commands


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "old.jsonl", [*distinct_rows(20), chat("Is it spam?", "ham")])
    write_rows(tmp_path / "new.jsonl", [*distinct_rows(5, start=18), chat("is it SPAM?", "spam")])
    assert assay.run(["index", "build", "--kind", "duplicates", "old.jsonl", "--out", "i", "--quiet"]) == ExitCode.PASS
    return tmp_path


@pytest.mark.parametrize("form", ["text", "json", "sarif", "junit", "github", "markdown", "html"])
def test_query_prints_what_an_audit_prints_in_every_format(folder, capsys, form):
    capsys.readouterr()
    assert assay.run(["index", "query", "i", "new.jsonl", "--format", form]) == ExitCode.FAIL
    queried = capsys.readouterr().out
    assert "DUP211" in queried
    assert "CON311" in queried
    assay.run(["audit", "new.jsonl", "--index", "i", "--select", "CON311,DUP211", "--format", form])
    assert capsys.readouterr().out == queried


def test_query_names_the_earlier_row(folder, capsys):
    capsys.readouterr()
    assert assay.run(["index", "query", "i", "new.jsonl", "--format", "json"]) == ExitCode.FAIL
    found = {f["line"]: f for f in json.loads(capsys.readouterr().out)["findings"]}
    earlier = {line: (f["code"], f["evidence"]["twin"]) for line, f in found.items()}
    assert {line: (code, twin["path"], twin["line"]) for line, (code, twin) in earlier.items()} == {
        1: ("DUP211", "old.jsonl", 19),
        2: ("DUP211", "old.jsonl", 20),
        6: ("CON311", "old.jsonl", 21),
    }
    assert (found[6]["evidence"]["answer"], found[6]["evidence"]["earlier_answer"]) == ("spam", "ham")
    assert found[6]["severity"] == "warning"
    (folder / "fresh.jsonl").write_bytes(lines_of(distinct_rows(5, start=50)))
    assert assay.run(["index", "query", "i", "fresh.jsonl"]) == ExitCode.PASS
    (folder / "none.jsonl").write_bytes(b"")
    assert assay.run(["index", "query", "i", "none.jsonl"]) == ExitCode.INCONCLUSIVE


def test_add_says_what_the_index_holds_then(folder, capsys):
    capsys.readouterr()
    assert assay.run(["index", "add", "i", "new.jsonl", "--format", "json"]) == ExitCode.PASS
    told = json.loads(capsys.readouterr().out)
    assert (told["kind"], told["segments"], told["counts"]) == ("duplicates", 2, {"rows": 25, "rows_known": 2})
    assert assay.run(["index", "query", "i", "new.jsonl"]) == ExitCode.FAIL
    assert "7 warnings in 6 rows" in capsys.readouterr().out


def test_mistakes_are_said_at_once(folder, capsys):
    write_rows(folder / "evals.jsonl", [{"question": "Who lives in the old mill by the river?", "answer": "Ann"}])
    assert assay.run(["index", "build", "--kind", "contamination", "evals.jsonl", "--out", "e"]) == ExitCode.PASS
    cases = {
        "this index is of another kind": ["index", "query", "i", "new.jsonl", "--kind", "contamination"],
        "something of this name": ["index", "build", "--kind", "duplicates", "old.jsonl", "--out", "i"],
        "this is not an index": ["audit", "new.jsonl", "--index", "nowhere"],
        "two indexes of one kind": ["audit", "new.jsonl", "--index", "i", "--index", "i"],
        "is for indexes of the kind contamination": [
            "index", "build", "--kind", "duplicates", "old.jsonl", "--out", "x", "--keyed",
        ],
        "no such data file": ["index", "add", "i", "nowhere.jsonl"],
    }  # fmt: skip
    for said, words in cases.items():
        capsys.readouterr()
        assert assay.run(words) == ExitCode.USAGE, said
        assert said in capsys.readouterr().err
    assert assay.run(["audit", "new.jsonl", "--index", "i", "--index", "e", "--select", "DUP211,LEK401"]) == 0
    (folder / "broken.jsonl").write_bytes(b"{]\n[1]\n\xff\xfe\x00\n")
    assert assay.run(["index", "build", "--kind", "duplicates", "broken.jsonl", "--out", "x"]) == ExitCode.INCONCLUSIVE
    assert not (folder / "x").exists()


def test_hostile_rows_are_indexed_and_found_like_any_others(tmp_path):
    rows = [
        {"text": "\u001b[31mred\u0000 <script>alert(1)</script> " + "x" * 100_000},
        {"messages": [{"role": "user\u001e", "content": None}, {"role": "assistant", "content": "\U0001f600" * 50}]},
        {"text": " \u3000 "},
        orjson.dumps({"prompt": "a\u0085b", "completion": ""}),
    ]
    build_rows(tmp_path / "i", index_rows(corpus_from(*rows)))
    corpus = corpus_from(*rows)
    opened = open_indexes([tmp_path / "i"]).beside(corpus)
    assert twins(opened, "DUP211").keys() == {0, 1, 2, 3}


def test_rows_of_every_kind_are_found_again_in_the_dataset_that_they_became(tmp_path):
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    kinds: list[Any] = [
        {"messages": [{"role": "system", "content": "Be brief."}, *chat(story(1), story(2))["messages"]]},
        {
            "messages": [
                {"role": "user", "content": story(3)},
                {"role": "assistant", "content": None, "tool_calls": [call]},
                {"role": "tool", "content": "42", "tool_call_id": "c1"},
                {"role": "assistant", "content": story(4)},
            ],
            "tools": [tool],
        },
        {"conversations": [{"from": "human", "value": story(5)}, {"from": "gpt", "value": story(6)}]},
        {"instruction": story(7), "input": "", "output": story(8)},
        {"prompt": story(9), "completion": story(10)},
        {"prompt": story(11), "chosen": story(12), "rejected": story(13)},
        {"prompt": story(14), "completion": story(15), "label": True},
        {"text": story(17)},
        {
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": story(18)}]},
                *chat("", "x")["messages"][1:],
            ]
        },
    ]
    steps = {"steps": ["exact-duplicate"]}
    first = curate(make_project(tmp_path / "one", [*kinds, *distinct_rows(20)], curate=steps))
    assert first.manifest.counts["rows_kept"] == 29
    data = {"sources": ["rows.jsonl"], "index": [str(first.folder)]}
    made = run_pipeline(make_project(tmp_path / "two", [*kinds, *distinct_rows(20, start=40)], data=data, curate=steps))
    found = made.ledger.drops.select("index", "code", "message")
    assert found["index"].to_list() == list(range(9))
    assert set(found["code"]) == {"DUP211"}
    assert set(found["message"]) == {"an earlier dataset holds this row"}


def test_what_is_added_while_an_index_is_opened_belongs_to_the_next_run(tmp_path, monkeypatch):
    files = [write_rows(tmp_path / f"{n}.jsonl", distinct_rows(5, start=10 * n)) for n in range(2)]
    build_index("duplicates", [str(files[0])], tmp_path / "i", SILENT)
    first = file_digest(tmp_path / "i" / "index-000001.json")

    def digest_then_add(path):
        found = file_digest(path)
        add_to_index(tmp_path / "i", [str(files[1])], SILENT)
        return found

    monkeypatch.setattr(indexes, "file_digest", digest_then_add)
    opened = open_indexes([tmp_path / "i"])
    assert opened.sha256 == (first,)
    assert opened.rows is not None
    assert len(opened.rows) == 5
