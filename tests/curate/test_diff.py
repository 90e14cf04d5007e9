"""What changed between two datasets or two audits; golden files are written again with `ASSAY_GOLDEN=write`."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import assay
from curate.configfile import Project
from curate.diff import ROW_CHANGES, _changed_rows, diff_paths
from curate.pipeline import curate
from curate.rules.near_duplicate import EDITED, STORY
from schemas.manifest import MANIFEST_NAME
from tests.curate.made_rows import chat, distinct_rows, make_project, write_rows

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
ROWS: list[Any] = [
    *distinct_rows(30),
    b'{"messages": [',
    distinct_rows(1)[0],
    chat(STORY, "fiction"),
    chat(EDITED, "fiction"),
    chat("Ask kim@kde.org", "no"),
]


def shown(name: str, text: str) -> None:
    path = GOLDEN / name
    if os.environ.get("ASSAY_GOLDEN") == "write":
        path.write_text(text, "utf-8")
    assert text == path.read_text("utf-8")


def changed_project(folder: Path) -> Project:
    """Other order, two rows less, two new ones, another threshold, redaction off."""
    rows = [*reversed(ROWS[2:]), ROWS[7], *distinct_rows(1, start=77)]
    rules = {"near-duplicate": {"threshold": 0.99}, "pii": {"action": "keep"}}
    return make_project(folder, rows, curate={"rules": rules, "split": {"seed": 3}})


@pytest.fixture(scope="module")
def datasets(tmp_path_factory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("datasets")
    a = curate(make_project(folder / "a", ROWS)).folder.rename(folder / "A")
    return a, curate(changed_project(folder / "b")).folder.rename(folder / "B")


@pytest.fixture
def audits(tmp_path, monkeypatch, capsys) -> tuple[Path, Path]:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path / "rows.jsonl", ROWS)
    assay.run(["audit", "rows.jsonl", "--format", "json", "--out", "a.json"])
    write_rows(tmp_path / "rows.jsonl", [*reversed(ROWS[3:]), ROWS[8], ROWS[8], b"[1]"])
    assay.run(["audit", "rows.jsonl", "--format", "json", "--out", "b.json"])
    capsys.readouterr()
    return Path("a.json"), Path("b.json")


@pytest.mark.parametrize("form", ["text", "markdown", "json"])
def test_the_difference_of_two_datasets(form, datasets, monkeypatch, capsys):
    monkeypatch.chdir(datasets[0].parent)
    assert assay.run(["diff", "A", f"B/{MANIFEST_NAME}", "--format", form, "--max-rows", "3"]) == 1
    shown(f"diff_datasets.{form}", capsys.readouterr().out)


@pytest.mark.parametrize("form", ["text", "markdown", "json"])
def test_the_difference_of_two_audits(form, audits, capsys):
    assert assay.run(["diff", *map(str, audits), "--format", form, "--max-rows", "1"]) == 1
    shown(f"diff_audits.{form}", capsys.readouterr().out)


def test_each_change_is_found_and_everything_else_is_unchanged(datasets):
    found = diff_paths(*datasets)
    changes = {kind: len(rows) for kind, rows in found.changes.items()}
    assert changes == {
        "added": 2,  # the new row, and the copy of row 8
        "removed": 2,  # row 2, and the copy of row 1 that was dropped: what was its copy is kept now
        "moved": changes["moved"],
        "kept_now": 1,
        "dropped_now": 0,
        "other_reason": 0,
        "rewritten": changes["rewritten"],
    }
    [kept] = found.changes["kept_now"]
    assert kept["before"]["code"] == "DUP203"
    assert kept["after"]["split"] in ("train", "validation", "test")
    [copy] = [change for change in found.changes["added"] if change["after"]["code"]]
    assert (copy["after"]["code"], copy["after"]["survivor_line"]) == ("DUP201", 28)
    gone = sum(changes.values()) - changes["added"]
    assert found.unchanged == len(ROWS) - gone
    assert [line["key"] for line in found.config] == [
        "curate.split.seed", "curate.rules.near-duplicate.threshold", "curate.rules.pii.action",
    ]  # fmt: skip


def test_a_result_does_not_differ_from_itself_nor_an_order_from_another(datasets, audits, tmp_path, capsys):
    assert assay.run(["diff", str(datasets[0]), str(datasets[0] / MANIFEST_NAME)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == f"no difference; rows: {len(ROWS)} unchanged"
    assert assay.run(["diff", "a.json", "a.json"]) == 0
    again = curate(make_project(tmp_path / "again", list(reversed(ROWS[:20]))))
    other = curate(make_project(tmp_path / "other", ROWS[:20]))
    found = diff_paths(other.folder, again.folder)
    assert (found.changes, found.config) == ({kind: [] for kind in ROW_CHANGES}, [])
    assert [line["path"] for line in found.inputs] == ["source rows.jsonl"], "other bytes in the source are named"
    assert not found.equal


def test_a_row_that_is_dropped_now_and_one_that_is_dropped_for_another_reason(tmp_path):
    rows = [*distinct_rows(12), chat("Tell me", "x"), chat("Tell me", "y")]
    drop = {"conflict": {"action": "drop"}}
    a = curate(make_project(tmp_path / "a", [*rows, rows[3]]))
    b = curate(make_project(tmp_path / "b", [*rows, rows[3]], curate={"rules": drop}))
    found = diff_paths(a.folder, b.folder).changes
    assert [change["after"]["code"] for change in found["dropped_now"]] == ["CON301", "CON301"]
    assert [change["before"]["code"] for change in diff_paths(b.folder, a.folder).changes["kept_now"]] == ["CON301"] * 2
    copied = [*rows, chat("Tell  me", "z"), chat("tell me", "z")]
    c = curate(make_project(tmp_path / "c", copied, curate={"steps": ["normalised-duplicate"]}))
    d = curate(make_project(tmp_path / "d", copied, curate={"steps": ["near-duplicate"]}))
    [change] = diff_paths(c.folder, d.folder).changes["other_reason"]
    assert (change["before"]["code"], change["after"]["code"]) == ("DUP202", "DUP203")


def test_findings_count_with_their_multiplicity(audits):
    found = diff_paths(*audits)
    copies = [finding for finding in found.changes["new"] if finding["code"] == "DUP201"]
    assert len(copies) == 2, "two more copies of a row are two new findings of one fingerprint"
    assert len({finding["fingerprint"] for finding in copies}) == 1
    assert [finding["code"] for finding in found.changes["gone"]] == ["DUP201"]
    assert "SCH101" not in {finding["code"] for finding in found.changes["new"]}


def test_an_audit_can_come_from_standard_input(audits, monkeypatch, capsys):
    class Stdin:
        buffer = Path("b.json").open("rb")

    monkeypatch.setattr("sys.stdin", Stdin)
    with Stdin.buffer:
        assert assay.run(["diff", "a.json", "-", "--format", "json"]) == 1
    assert json.loads(capsys.readouterr().out)["b"] == "-"


def test_what_is_hostile_in_a_file_is_shown_harmless(audits, capsys):
    value = json.loads(Path("a.json").read_text())
    for finding in value["findings"]:
        finding["message"] = "\x1b[31m<script>|@all"
        finding["path"] = "rows\n\x07.jsonl"
        finding["fingerprint"] += "x"
    value["inputs"][0]["path"] = "rows\x1b.jsonl"
    value["inputs"][0]["sha256"] = "\x1b[2J"
    Path("c.json").write_text(json.dumps(value))
    for form in ("text", "markdown"):
        assert assay.run(["diff", "a.json", "c.json", "--format", form]) == 1
        out = capsys.readouterr().out
        assert all(char.isprintable() for char in out.replace("\n", ""))
        assert form == "text" or "<script>" not in out


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "no JSON"),
        (b"[1]", "schema None"),
        (b'{"schema": "assay/verdict/1"}', "schema 'assay/verdict/1'"),
        (b'{"schema": "assay/audit/1", "rows": "many"}', "inputs: Field required"),
        (None, "No such file"),
    ],
)
def test_other_files_are_exit_2(content, words, audits, capsys):
    if content is not None:
        Path("c.json").write_bytes(content)
    assert assay.run(["diff", "a.json", "c.json"]) == 2
    assert words in capsys.readouterr().err


def test_a_dataset_and_an_audit_and_a_changed_dataset_are_exit_2(datasets, audits, tmp_path, capsys):
    assert assay.run(["diff", "a.json", str(datasets[0])]) == 2
    assert "a dataset cannot be compared with an audit" in capsys.readouterr().err
    made = curate(make_project(tmp_path / "made", distinct_rows(12)))
    with (made.folder / "dropped.parquet").open("ab") as stream:
        stream.write(b"x")
    assert assay.run(["diff", str(made.folder), str(datasets[0])]) == 2
    assert "do not match" in capsys.readouterr().err


STATES = st.lists(
    st.tuples(st.sampled_from("xyz"), st.sampled_from(["train", "test", "DUP201", "SCH101"]), st.integers(0, 2)),
    max_size=8,
)


def frame_of(states: list[tuple[str, str, int]]) -> pl.DataFrame:
    rows = [
        (row_id, *((None, state) if state.isupper() else (state, None)), None, "p", line, 0, None, None, 0)
        for row_id, state, line in states
    ]
    texts = ("row_id", "split", "code", "name", "path", "survivor_path")
    names = ("row_id", "split", "code", "name", "path", "line", "row", "survivor_path", "survivor_line", "text")
    schema = {name: pl.String if name in texts else pl.Int64 for name in names}
    return pl.DataFrame(rows, schema=schema, orient="row")


@given(STATES, STATES)
def test_changes_turn_one_side_into_the_other(before, after):
    changes = _changed_rows(frame_of(before), frame_of(after))
    balance = Counter((row_id, state) for row_id, state, _ in before)
    for change in (change for found in changes.values() for change in found):
        for side, sign in ((change["before"], -1), (change["after"], 1)):
            if side:
                balance[change["row_id"], side["split"] or side["code"]] += sign
    assert +balance == Counter((row_id, state) for row_id, state, _ in after)
    assert min(balance.values(), default=0) >= 0
    left, right = (Counter(row_id for row_id, *_ in side) for side in (before, after))
    assert len(changes["added"]) == (right - left).total()
    assert len(changes["removed"]) == (left - right).total()
