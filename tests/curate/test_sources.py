import json
import os
import subprocess
from pathlib import Path

import polars as pl
import pytest

import assay
from curate.readers import read_corpus
from curate.request import AuditRequest, run_audit
from curate.sources import Found, find_sources
from schemas.errors import ConfigError
from tests.curate.made_rows import chat, distinct_rows, write_rows

ROWS = [{"text": f"row {n}"} for n in range(4)]


def names(found: Found, root: Path) -> list[str]:
    return [os.path.relpath(path, root) for path in found.files]


def skipped(found: Found, root: Path) -> dict[str, str]:
    return {os.path.relpath(path, root): why for path, why in found.skipped.items()}


def save(folder: Path, rows: list[dict], shards: int = 2) -> Path:
    """A folder as `Dataset.save_to_disk` writes it, after datasets 5."""
    folder.mkdir(parents=True)
    files = [f"data-{n:05}-of-{shards:05}.arrow" for n in range(shards)]
    for n, name in enumerate(files):
        pl.DataFrame(rows[n::shards]).write_ipc_stream(folder / name)
    state = {"_data_files": [{"filename": name} for name in files], "_split": None, "_indices_files": None}
    (folder / "state.json").write_text(json.dumps(state))
    (folder / "dataset_info.json").write_text("{}")
    return folder


def save_splits(folder: Path, **splits: list[dict]) -> Path:
    for name, rows in splits.items():
        save(folder / name, rows, 1)
    (folder / "dataset_dict.json").write_text(json.dumps({"splits": list(splits)}))
    return folder


def test_a_folder_gives_its_data_files_and_names_what_it_leaves_out(tmp_path):
    for name in ("b/two.jsonl", "a.jsonl", ".git/x.jsonl", ".hidden.jsonl", "notes.md", "b/deep/three.feather"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x")
    (tmp_path / "loop").symlink_to(tmp_path)
    (tmp_path / "gone.jsonl").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.jsonl")
    found = find_sources(["."], tmp_path, "here")
    assert names(found, tmp_path) == ["a.jsonl", "b/deep/three.feather", "b/two.jsonl"]
    left = skipped(found, tmp_path)
    assert left.pop("gone.jsonl").startswith("a link to ")
    assert left == {
        ".git": "hidden",
        ".hidden.jsonl": "hidden",
        "notes.md": "its name is not that of a data file",
        "loop": "a link to a folder",
        "pipe.jsonl": "a named pipe",
    }


def test_links_that_lead_in_circles_end_a_glob_and_a_file_is_read_once(tmp_path):
    (tmp_path / "in").mkdir()
    write_rows(tmp_path / "in" / "a.jsonl", ROWS)
    for name in ("one", "two"):
        (tmp_path / "in" / name).symlink_to(tmp_path / "in")
    (tmp_path / "in" / "again.jsonl").symlink_to("a.jsonl")
    os.mkfifo(tmp_path / "in" / "pipe.jsonl")
    found = find_sources(["in/**/*.jsonl", "in/a.jsonl"], tmp_path, "here")
    assert names(found, tmp_path) == ["in/a.jsonl"]
    assert skipped(found, tmp_path) == {
        "in/again.jsonl": f"the same file as {tmp_path}/in/a.jsonl",
        "in/pipe.jsonl": "a named pipe",
    }


def test_a_glob_meets_hidden_files_only_if_it_spells_the_dot_and_never_leaves_its_folder(tmp_path):
    for name in ("d/a.jsonl", "d/.b.jsonl", "d/.c/e.jsonl", "secret.jsonl"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    assert names(find_sources(["d/*"], tmp_path, ""), tmp_path) == ["d/a.jsonl"]
    assert names(find_sources(["d/**/*.jsonl"], tmp_path, ""), tmp_path) == ["d/a.jsonl"]
    assert names(find_sources(["d/.b*"], tmp_path, ""), tmp_path) == ["d/.b.jsonl"]
    assert names(find_sources(["../" + tmp_path.name + "/d/*.jsonl"], tmp_path, ""), tmp_path) == ["d/a.jsonl"]
    with pytest.raises(ConfigError, match="a glob leaves the folder"):
        find_sources(["d/*/../../secret.jsonl"], tmp_path, "")


@pytest.mark.skipif(not Path("/dev/zero").exists(), reason="no such device here")
def test_a_device_is_refused_and_not_read_for_ever(capsys):
    assert assay.run(["audit", "/dev/zero"]) == 2
    assert "is a device" in capsys.readouterr().err


def test_a_folder_deeper_than_the_interpreters_stack_is_searched(tmp_path):
    here = os.getcwd()
    try:
        os.chdir(tmp_path)
        for _ in range(1200):
            os.mkdir("d")
            os.chdir("d")
        Path("a.jsonl").write_text("x")
        assert len(find_sources(["."], tmp_path, "").files) == 1
    finally:
        # pytest's own clean-up recurses and would not come to the end of it.
        os.chdir(here)
        subprocess.run(["rm", "-rf", str(tmp_path / "d")], check=True)


def test_a_saved_dataset_gives_its_shards_in_order_and_its_splits_by_name(tmp_path):
    save_splits(tmp_path / "saved", train=ROWS, test=ROWS[:1])
    (tmp_path / "saved" / "train" / "cache-1.arrow").write_text("not a part of it")
    save(tmp_path / "single", ROWS)
    found = find_sources(["saved", "single"], tmp_path, "")
    assert [(os.path.relpath(path, tmp_path), split) for path, split in found.files.items()] == [
        ("saved/train/data-00000-of-00001.arrow", "train"),
        ("saved/test/data-00000-of-00001.arrow", "test"),
        ("single/data-00000-of-00002.arrow", None),
        ("single/data-00001-of-00002.arrow", None),
    ]
    corpus = read_corpus(found.files)
    assert [source.split for source in corpus.sources] == ["train", "test", None, None]
    assert corpus.turns["content"].to_list()[:4] == [row["text"] for row in ROWS]
    assert corpus.rows["line"].null_count() == corpus.height == 9


@pytest.mark.parametrize(
    ("state", "said"),
    [
        ('{"_data_files": [{"filename": "../../outside.arrow"}]}', "'../../outside.arrow' is not there"),
        ('{"_data_files": [{"filename": "gone.arrow"}]}', "'gone.arrow' is not there"),
        ('{"_data_files": [3]}', "None is not there"),
        ('{"_data_files": [], "_indices_files": [{"filename": "i.arrow"}]}', "chosen by an index"),
        ("[" * 100_000, ""),
        ('{"_data_files"', ""),
    ],
)
def test_a_damaged_saved_dataset_is_refused_and_leads_nowhere_else(tmp_path, state, said):
    (tmp_path / "outside.arrow").write_text("x")
    folder = save(tmp_path / "a" / "b", ROWS)
    (folder / "state.json").write_text(state)
    with pytest.raises(ConfigError) as caught:
        find_sources(["a"], tmp_path, "")
    problem = caught.value.problems[0]
    assert problem.what == "the saved dataset cannot be read"
    assert said in problem.found


def test_the_head_says_what_was_read_as_what_and_what_was_not(capsys, tmp_path):
    write_rows(tmp_path / "mixed.jsonl", [chat("a", "b"), {"text": "t"}, {"text": "u"}, {"odd": 1}])
    write_rows(tmp_path / "plain.jsonl", distinct_rows(3))
    (tmp_path / "wrapped.json").write_text('{"version": 1, "data": [{"prompt": "a", "completion": "b"}]}')
    save_splits(tmp_path / "saved", train=ROWS)
    (tmp_path / ".hidden").mkdir()
    assay.run(["audit", str(tmp_path), "--select", "SCH101"])
    out = capsys.readouterr().out.replace(f"{tmp_path}/", "")
    assert out.splitlines()[:5] == [
        "mixed.jsonl: 4 rows: 2 plain text, 1 chat (messages), 1 of no known shape, jsonl (shapes are mixed)",
        "plain.jsonl: 3 rows of chat (messages), jsonl",
        "saved/train/data-00000-of-00001.arrow: 4 rows of plain text, arrow, split train",
        "wrapped.json: 1 row of prompt and completion, json under `data`",
        "not read: .hidden (hidden)",
    ]
    assay.run(["audit", str(tmp_path), "--select", "SCH101", "--format", "json"])
    stats = json.loads(capsys.readouterr().out)["stats"]
    assert stats["sources"][0]["shapes"] == {"text": 2, "chat": 1, "unreadable": 1}
    assert stats["sources"][2]["split"] == "train"
    assert list(stats["skipped"].values()) == ["hidden"]


def test_columns_and_kind_of_the_command_line(capsys, tmp_path):
    path = write_rows(tmp_path / "r.jsonl", [{"frage": "q", "antwort": "a", "prompt": "old"}])
    request = AuditRequest([str(path)], columns=["prompt=frage, completion=antwort"])
    corpus = run_audit(request).corpus
    assert corpus.turns["content"].to_list() == ["q", "a"]
    assert assay.run(["audit", str(path), "--columns", "prompt=frage", "--columns", "completion=antwort"]) == 0
    assert assay.run(["audit", str(path), "--columns", "text=frage", "--kind", "chat"]) == 1
    assert "no known record shape" in capsys.readouterr().out
    for wrong in ("prompt", "prompt=a,prompt=b", "=x"):
        assert assay.run(["audit", str(path), "--columns", wrong]) == 2
        assert "--columns" in capsys.readouterr().err
