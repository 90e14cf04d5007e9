import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import assay
from curate.baseline import SCHEMA, Baseline, Key, compare, known_things, read_baseline, write_baseline
from curate.request import AuditRequest, run_audit
from schemas.errors import UserError
from schemas.finding import Finding, Severity
from tests.curate.made_rows import chat, distinct_rows, write_rows

MAIL = chat("Write to kim@kde.org", "ok")


def run(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, str, str]:
    code = assay.run([str(arg) for arg in args])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def found(capsys, *args: object) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(run(capsys, "audit", *args, "--format", "json")[1])
    return report


def test_a_dirty_file_passes_with_its_baseline_and_fails_for_what_is_new(capsys, here):
    rows = [*distinct_rows(5), MAIL, distinct_rows(1)[0], b"{broken"]
    write_rows(here / "rows.jsonl", rows)
    code, out, _ = run(capsys, "audit", "rows.jsonl", "--write-baseline")
    assert (code, "3 written to assay.baseline" in out) == (0, True)
    code, out, _ = run(capsys, "audit", "rows.jsonl", "--baseline", "assay.baseline", "--fail-on", "info")
    assert code == 0
    assert "8 rows: nothing new; known findings: 3 in the baseline" in out
    write_rows(here / "rows.jsonl", [*rows, chat("and jane.miller@posteo.net", "ok")])
    report = found(capsys, "rows.jsonl", "--baseline", "assay.baseline")
    assert [(f["code"], f["line"]) for f in report["findings"]] == [("PII501", 9)]
    assert report["counts"] == {"PII501": 1}
    assert report["stats"]["baseline"] == {"path": "assay.baseline", "covered": 3, "gone": 0}
    assert run(capsys, "audit", "rows.jsonl", "--baseline", "assay.baseline")[0] == 1


def test_the_file_is_sorted_lines_without_anything_that_a_row_holds(capsys, here):
    write_rows(here / "b.jsonl", [MAIL, MAIL, chat("x", "KEY" * 5)])
    write_rows(here / "a.jsonl", [MAIL])
    run(capsys, "audit", "b.jsonl", "a.jsonl", "--write-baseline")
    lines = Path("assay.baseline").read_text().splitlines()
    assert json.loads(lines[0])["schema"] == SCHEMA
    entries = [json.loads(line) for line in lines[1:]]
    assert [list(entry) for entry in entries] == [["path", "code", "fingerprint", "count"]] * len(entries)
    assert [(e["path"], e["code"], e["count"]) for e in entries] == [
        ("a.jsonl", "DUP201", 1),
        ("a.jsonl", "PII501", 1),
        ("b.jsonl", "DUP201", 2),
        ("b.jsonl", "PII501", 2),
    ]
    assert "kim" not in "".join(lines)
    assert "KEY" not in "".join(lines)


def test_multiplicity_is_counted(capsys, here):
    write_rows(here / "rows.jsonl", [MAIL, MAIL])
    run(capsys, "audit", "rows.jsonl", "--write-baseline")
    write_rows(here / "rows.jsonl", [MAIL, MAIL, MAIL])
    report = found(capsys, "rows.jsonl", "--baseline", "assay.baseline")
    assert report["counts"] == {"DUP201": 1, "PII501": 1}
    assert {f["line"] for f in report["findings"]} == {3}


def test_rows_may_change_their_order_and_their_file(capsys, here):
    story = "The keeper of the lighthouse at the end of the long pier counts the ships that pass at night and writes "
    rows = [
        *distinct_rows(8), *distinct_rows(2), MAIL, b"{broken", chat("Q", "yes"), chat("Q", "no"),
        *({"text": f"{story}{word} down in the old book that nobody ever reads"} for word in ("them", "all", "each")),
    ]  # fmt: skip
    write_rows(here / "rows.jsonl", rows)
    before = run_audit(AuditRequest(["rows.jsonl"]))
    assert {"CON301", "DUP201", "PII501", "SCH101"} <= set(before.counts)
    run(capsys, "audit", "rows.jsonl", "--write-baseline")
    for seed in range(5):
        random.Random(seed).shuffle(rows)
        write_rows(here / "rows.jsonl", rows[:6])
        write_rows(here / "moved.jsonl", rows[6:])
        report = found(capsys, "moved.jsonl", "rows.jsonl", "--baseline", "assay.baseline")
        assert report["findings"] == []


def test_a_new_row_before_all_its_copies_is_one_new_finding(capsys, here):
    write_rows(here / "rows.jsonl", [chat("Q", "yes"), chat("Q", "no")])
    run(capsys, "audit", "rows.jsonl", "--write-baseline", "--select", "CON301")
    write_rows(here / "rows.jsonl", [chat("Q", "maybe"), chat("Q", "yes"), chat("Q", "no")])
    report = found(capsys, "rows.jsonl", "--baseline", "assay.baseline", "--select", "CON301")
    assert len(report["findings"]) == 1


def test_what_is_gone_is_counted_and_a_look_at_a_part_claims_nothing(capsys, here):
    write_rows(here / "a.jsonl", [MAIL, *distinct_rows(3)])
    write_rows(here / "b.jsonl", [chat("b@kde.org", "ok")])
    run(capsys, "audit", "a.jsonl", "b.jsonl", "--write-baseline")
    whole = Path("assay.baseline").read_bytes()
    write_rows(here / "a.jsonl", distinct_rows(3))
    assert found(capsys, "a.jsonl", "--baseline", "assay.baseline")["stats"]["baseline"]["gone"] == 0
    stats = found(capsys, "a.jsonl", "b.jsonl", "--baseline", "assay.baseline", "--select", "DUP")["stats"]
    assert stats["baseline"] == {"path": "assay.baseline", "covered": 0, "gone": 0}
    _, out, _ = run(capsys, "audit", "a.jsonl", "b.jsonl", "--baseline", "assay.baseline")
    assert "shrink the baseline: 1 entry of it no longer occurs" in out
    run(capsys, "audit", "a.jsonl", "--write-baseline")
    assert Path("assay.baseline").read_bytes() == whole, "a look at a part takes nothing away"
    run(capsys, "audit", "a.jsonl", "b.jsonl", "--write-baseline", "--select", "DUP")
    assert Path("assay.baseline").read_bytes() == whole, "rules that were not run keep their entries"
    run(capsys, "audit", "a.jsonl", "b.jsonl", "--write-baseline")
    assert [key.path for key in read_baseline(Path("assay.baseline")).counts] == ["b.jsonl"]


def test_paths_are_relative_to_the_baseline(capsys, here, monkeypatch):
    (here / "data").mkdir()
    (here / "deep").mkdir()
    write_rows(here / "data" / "rows.jsonl", [b"", MAIL])
    run(capsys, "audit", here / "data" / "rows.jsonl", "--write-baseline")
    assert {key.path for key in read_baseline(Path("assay.baseline")).counts} == {"data/rows.jsonl"}
    monkeypatch.chdir(here / "deep")
    assert found(capsys, "../data/rows.jsonl", "--baseline", "../assay.baseline")["findings"] == []


def test_a_fault_of_a_file_is_known_in_its_own_file_only(capsys, here):
    write_rows(here / "a.jsonl", [*distinct_rows(3)])
    write_rows(here / "b.jsonl", [chat("one", "1")])
    Path("a.jsonl").write_bytes(b"\n" + Path("a.jsonl").read_bytes())
    run(capsys, "audit", "a.jsonl", "b.jsonl", "--write-baseline")
    a, b = Path("a.jsonl").read_bytes(), Path("b.jsonl").read_bytes()
    Path("a.jsonl").write_bytes(a[1:])
    Path("b.jsonl").write_bytes(b"\n" + b)
    assert [f["path"] for f in found(capsys, "a.jsonl", "b.jsonl", "--baseline", "assay.baseline")["findings"]] == [
        "b.jsonl"
    ]


HEAD = json.dumps({"schema": SCHEMA, "version": "0"})
ENTRY = {"path": "a", "code": "DUP201", "fingerprint": "0" * 32, "count": 1}


@pytest.mark.parametrize(
    ("lines", "number", "said"),
    [
        ([""], 1, "not a baseline"),
        (["\x00\xff"], 1, "not a baseline"),
        (['{"messages": []}'], 1, "not a baseline"),
        (['{"schema": "assay/baseline/2"}', "?"], 1, "does not read this baseline"),
        ([HEAD, json.dumps(ENTRY), '{"path": "a"'], 3, "cannot be read"),
        ([HEAD, json.dumps(ENTRY | {"count": 0})], 2, "cannot be read"),
        ([HEAD, json.dumps(ENTRY | {"count": True})], 2, "cannot be read"),
        ([HEAD, json.dumps(ENTRY | {"fingerprint": "xyz"})], 2, "cannot be read"),
        ([HEAD, json.dumps(ENTRY | {"more": 1})], 2, "cannot be read"),
        ([HEAD, "[]"], 2, "cannot be read"),
    ],
)
def test_a_corrupt_baseline_is_exit_2_at_its_line(capsys, here, lines, number, said):
    write_rows(here / "rows.jsonl", distinct_rows(3))
    Path("assay.baseline").write_text("\n".join(lines), "utf-8")
    code, out, err = run(capsys, "audit", "rows.jsonl", "--baseline", "assay.baseline")
    assert (code, out) == (2, "")
    assert said in err
    assert f"assay.baseline:{number}" in err


def test_a_merge_conflict_is_recognised(capsys, here):
    write_rows(here / "rows.jsonl", distinct_rows(3))
    Path("assay.baseline").write_text(f"{HEAD}\n<<<<<<< HEAD\n{json.dumps(ENTRY)}\n=======\n>>>>>>> other\n", "utf-8")
    code, _, err = run(capsys, "audit", "rows.jsonl", "--baseline", "assay.baseline")
    assert code == 2
    assert "merge conflict" in err
    assert err.count("error:") == 3


def test_a_missing_baseline_is_exit_2_and_says_how_to_make_one(capsys, here):
    write_rows(here / "rows.jsonl", distinct_rows(3))
    code, _, err = run(capsys, "audit", "rows.jsonl", "--baseline", "none")
    assert code == 2
    assert "--write-baseline" in err


def test_rules_that_are_no_more_and_another_version_are_said(capsys, here):
    write_rows(here / "rows.jsonl", [MAIL])
    write_baseline(Path("assay.baseline"), {Key("rows.jsonl", "ZZZ999", "1" * 32): 2})
    head, *entries = Path("assay.baseline").read_text().splitlines()
    text = "\n".join([json.dumps(json.loads(head) | {"version": "0.0.1"}), *entries])
    Path("assay.baseline").write_text(text)
    _, out, _ = run(capsys, "audit", "rows.jsonl", "--baseline", "assay.baseline")
    assert "2 entries of the rule ZZZ999, which this version of assay does not have" in out
    assert "written by assay 0.0.1" in out
    _, _, err = run(capsys, "audit", "rows.jsonl", "--baseline", "assay.baseline", "--format", "sarif")
    assert "ZZZ999" in err
    run(capsys, "audit", "rows.jsonl", "--write-baseline")
    assert "ZZZ999" not in Path("assay.baseline").read_text()


def test_no_rows_write_nothing(capsys, here):
    Path("rows.jsonl").write_bytes(b"")
    assert run(capsys, "audit", "rows.jsonl", "--write-baseline")[0] == 4
    assert not Path("assay.baseline").exists()


def test_the_baseline_never_replaces_data_nor_is_taken_for_it(capsys, here):
    rows = write_rows(here / "rows.jsonl", [MAIL])
    before = rows.read_bytes()
    code, _, err = run(capsys, "audit", "rows.jsonl", "--baseline", "rows.jsonl", "--write-baseline")
    assert (code, rows.read_bytes()) == (2, before)
    assert "not a baseline" in err
    run(capsys, "audit", ".", "--baseline", "known.jsonl", "--write-baseline")
    assert [item["path"] for item in found(capsys, ".", "--baseline", "known.jsonl")["inputs"]] == ["rows.jsonl"]


@pytest.mark.parametrize("form", ["text", "markdown", "github", "junit"])
def test_every_format_for_people_says_how_many_are_known(capsys, here, form):
    write_rows(here / "rows.jsonl", [MAIL])
    run(capsys, "audit", "rows.jsonl", "--write-baseline")
    _, out, _ = run(capsys, "audit", "rows.jsonl", "--baseline", "assay.baseline", "--format", form)
    assert "known findings: 1 in the baseline" in out


marks = st.integers(0, 3).map(lambda n: f"{n:032x}")
things = st.lists(st.tuples(st.sampled_from(["a", "b"]), marks), max_size=12)


def made(path: str, mark: str, number: int) -> Finding:
    return Finding(code="PII501", name="mail-address", severity=Severity.ERROR, path=path, line=number, row=number,
                   row_id=mark, message="m", fingerprint=mark)  # fmt: skip


@given(things, things)
def test_new_is_what_exceeds_the_count_of_its_fingerprint(tmp_path_factory, before, now):
    root = tmp_path_factory.getbasetemp()
    old = [made(path, mark, n) for n, (path, mark) in enumerate(before)]
    new = [made(path, mark, n) for n, (path, mark) in enumerate(now)]
    baseline = Baseline(root / "x", "0", known_things(old, root))
    result = compare(new, baseline)
    expected = Counter(mark for _, mark in now) - Counter(mark for _, mark in before)
    assert Counter(f.fingerprint for f in result.new) == expected
    left = Counter(mark for _, mark in before) - Counter(mark for _, mark in now)
    assert sum(result.left.values()) == left.total()
    write_baseline(baseline.path, baseline.counts)
    assert read_baseline(baseline.path).counts == baseline.counts


def test_entries_of_two_branches_are_taken_together(tmp_path):
    path = tmp_path / "x"
    path.write_text("\n".join([HEAD, json.dumps(ENTRY), json.dumps(ENTRY | {"count": 3}), ""]))
    assert list(read_baseline(path).counts.values()) == [3]
    with pytest.raises(UserError):
        read_baseline(tmp_path)
