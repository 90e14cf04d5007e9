"""Index folders: a state is whole or not there, older states stay, and nothing that was changed is read."""

import json
import os
import signal
import subprocess
import sys

import pytest

from schemas.errors import UserError
from schemas.index import (
    IndexFormat,
    add_segment,
    create_index,
    header_path,
    index_problems,
    is_index,
    read_header,
    read_index,
)

FORMAT = IndexFormat(kind="duplicates", scheme="letters", parameters={"case": "lower"}, probe="a")


def filler(text, **counts):
    def fill(path):
        (path / "data").write_text(text)
        return counts or {"rows": len(text)}

    return fill


def adder(text):
    return lambda header, path: filler(text)(path)


@pytest.fixture
def index(tmp_path):
    create_index(tmp_path / "i", FORMAT, filler("abc"))
    return tmp_path / "i"


def tree(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_an_index_is_segments_and_a_header_for_each_state(index):
    add_segment(index, adder("de"))
    assert sorted(tree(index)) == [
        "index-000001.json",
        "index-000002.json",
        "segment-000001/data",
        "segment-000002/data",
    ]
    header, folder = read_index(index, FORMAT)
    assert (folder, header.counts, header.size, len(header.segments)) == (index, {"rows": 5}, 5, 2)
    before, _ = read_index(index / "index-000001.json", FORMAT)
    assert before.counts == {"rows": 3}, "a state that a result names is still there"
    assert is_index(index)
    assert is_index(index / "index-000001.json")
    assert not is_index(index.parent)


def test_nothing_to_add_leaves_the_index_as_it_is(index):
    before = tree(index)
    header = add_segment(index, lambda header, path: filler("", rows=0, known=0)(path))
    assert (tree(index), header) == (before, read_header(index))


def test_a_folder_that_exists_is_never_replaced(index):
    before = tree(index)
    with pytest.raises(UserError, match="something of this name"):
        create_index(index, FORMAT, filler("x"))
    assert tree(index) == before


def test_what_fails_leaves_nothing_behind(index, tmp_path):
    before = tree(index)

    def broken(*_):
        (_[-1] / "data").write_text("half")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        add_segment(index, broken)
    with pytest.raises(RuntimeError):
        create_index(tmp_path / "new", FORMAT, broken)
    assert tree(index) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["i"]


KILLED = """
import os, signal, sys
from pathlib import Path
import schemas.index as module
from schemas.index import IndexFormat, add_segment, create_index

def fill(*given):
    (given[-1] / "data").write_text("half")
    if sys.argv[2] == "filling":
        os.kill(os.getpid(), signal.SIGKILL)
    return {"rows": 4}

if sys.argv[2] == "naming":
    module.write_atomic = lambda path, data: os.kill(os.getpid(), signal.SIGKILL)
folder = Path(sys.argv[1])
if sys.argv[3] == "create":
    create_index(folder, IndexFormat(kind="duplicates", scheme="letters", parameters={}, probe="a"), fill)
else:
    add_segment(folder, fill)
"""


@pytest.mark.parametrize("moment", ["filling", "naming"])
@pytest.mark.parametrize("what", ["create", "add"])
def test_a_killed_process_leaves_the_state_before_it(index, tmp_path, moment, what):
    folder = index if what == "add" else tmp_path / "new"
    done = subprocess.run([sys.executable, "-c", KILLED, str(folder), moment, what], cwd=os.getcwd(), check=False)
    assert done.returncode == -signal.SIGKILL
    if what == "create":
        assert not folder.exists()
        with pytest.raises(UserError, match="not an index"):
            header_path(tmp_path / "new.partial")
        create_index(folder, FORMAT, filler("abc"))
    else:
        assert read_index(index, FORMAT)[0].counts == {"rows": 3}
        add_segment(index, adder("de"))
        assert read_index(index, FORMAT)[0].counts == {"rows": 5}
        assert (index / "segment-000002" / "data").read_text() == "de"


def test_only_one_process_adds_and_others_read_meanwhile(index):
    def fill(header, path):
        assert read_index(index, FORMAT)[0].counts == {"rows": 3}
        with pytest.raises(UserError, match="another assay run"):
            add_segment(index, adder("x"))
        return filler("de")(path)

    assert add_segment(index, fill).counts == {"rows": 5}


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda path: (path / "segment-000001" / "data").write_text("abx"), "sha256"),
        (lambda path: (path / "segment-000001" / "data").write_text("ab"), "2 bytes (3 expected)"),
        (lambda path: (path / "segment-000001" / "data").unlink(), "missing (3 bytes expected)"),
    ],
    ids=["changed", "cut off", "missing"],
)
def test_files_that_differ_from_the_header_are_refused(index, damage, said):
    damage(index)
    with pytest.raises(UserError, match="damaged") as caught:
        read_index(index, FORMAT)
    assert said in caught.value.problems[0].found
    assert "build it again" in caught.value.problems[0].help
    assert len(index_problems(read_header(index), index)) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text[: len(text) // 2], "damaged"),
        (lambda text: "", "damaged"),
        (lambda text: text.replace('"rows": 3', '"rows": 9'), "damaged"),
        (lambda text: text.replace("assay/index/1", "assay/index/9"), "does not read this index"),
        (lambda text: text.replace('"segments"', '"parts"'), "damaged"),
        (lambda text: text.replace("segment-000001", "../../secret"), "damaged"),
        (lambda text: "[1, 2]", "does not read this index"),
        (lambda text: '{"a": ' * 100_000, "damaged"),
    ],
    ids=["cut off", "empty", "changed", "another version", "other fields", "a way out", "a list", "deep"],
)
def test_headers_that_assay_did_not_write_are_refused(index, change, said):
    path = index / "index-000001.json"
    path.write_text(change(path.read_text()))
    with pytest.raises(UserError, match=said):
        read_index(index, FORMAT)


@pytest.mark.parametrize(
    ("change", "found", "expected"),
    [
        ({"kind": "contamination"}, "kind duplicates", "kind contamination"),
        ({"scheme": "words"}, "scheme: letters", "scheme: words"),
        ({"parameters": {"case": "upper", "n": 5}}, "case: lower, n: None", "case: upper, n: 5"),
        ({"probe": "b"}, "what fixed texts are hashed to: a", "what fixed texts are hashed to: b"),
    ],
    ids=["kind", "scheme", "parameters", "probe"],
)
def test_a_mismatch_says_what_was_found_and_expected_and_what_to_do(index, change, found, expected):
    with pytest.raises(UserError) as caught:
        read_index(index, FORMAT.model_copy(update=change))
    (problem,) = caught.value.problems
    assert (problem.found, problem.expected) == (found, expected)
    assert problem.help


@pytest.mark.parametrize("there", ["nothing", "file", "folder"])
def test_what_is_no_index_is_said_to_be_none(tmp_path, there):
    path = tmp_path / "x"
    if there == "file":
        path.write_text(json.dumps({"schema": "assay/index/1"}))
    elif there == "folder":
        path.mkdir()
    with pytest.raises(UserError, match="not an index"):
        read_header(path)
    assert not is_index(path)
