import datetime
import json
from pathlib import Path

import pytest

import assay
from curate.audit import Audit
from curate.request import AuditRequest, run_audit, settings_of
from schemas.errors import ConfigError
from tests.curate.made_rows import chat, distinct_rows, write_rows

TODAY = datetime.date(2027, 3, 1)


def run(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, str, str]:
    code = assay.run([str(arg) for arg in args])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Four files' worth of faults: a mail address in two files, a duplicate in one."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    write_rows(tmp_path / "data" / "a.jsonl", [chat("kim@kde.org", "ok"), *distinct_rows(3), distinct_rows(1)[0]])
    write_rows(tmp_path / "b.jsonl", [chat("jane.miller@posteo.net", "well")])
    return tmp_path


def audit(waivers: str, today: datetime.date = TODAY, **more) -> Audit:
    Path("waivers.yaml").write_text(waivers, "utf-8")
    return run_audit(AuditRequest(["data", "b.jsonl"], waivers=Path("waivers.yaml"), today=today, **more))


def test_a_waiver_of_a_rule_holds_in_its_files_until_its_day(here):
    text = "- {code: PII501, path: data/, reason: public mailing list, expires: 2027-03-01}\n"
    held = audit(text)
    assert [(f.code, f.path) for f in held.findings] == [("DUP201", "data/a.jsonl"), ("PII501", "b.jsonl")]
    assert held.aside.waived == 1
    assert held.aside.notices == ()
    expired = audit(text, TODAY + datetime.timedelta(days=1))
    assert expired.counts == {"DUP201": 1, "PII501": 2}
    (notice,) = expired.aside.notices
    assert (notice.where, notice.text) == (
        "waivers.yaml:1",
        "the waiver of PII501 in data/ expired on 2027-03-01; 1 finding counts again (reason: public mailing list)",
    )


def test_a_finding_and_a_row_can_be_named(here):
    finding = audit("[]\n", select=["PII501"]).findings[0]
    by_finding = audit(f"- {{fingerprint: {finding.fingerprint}, reason: r, expires: never}}\n")
    assert (by_finding.aside.waived, by_finding.counts) == (1, {"DUP201": 1, "PII501": 1})
    by_row = audit(f"- {{row_id: {finding.row_id}, code: duplicate, reason: r, expires: never}}\n")
    assert by_row.aside.waived == 0
    assert [notice.text.split(" (")[0] for notice in by_row.aside.notices] == [
        f"the waiver of duplicate, row {finding.row_id} matches nothing in these files"
    ]
    assert audit(f"- {{row_id: {finding.row_id}, reason: r, expires: never}}\n").aside.waived == 1


def test_a_valid_waiver_wins_over_an_expired_one(here):
    found = audit(
        "- {code: PII, reason: old, expires: 2020-01-01}\n- {code: mail-address, reason: new, expires: never}\n"
    )
    assert found.aside.waived == 2
    assert [notice.line for notice in found.aside.notices] == [1]


def test_a_waiver_that_matches_nothing_is_said_unless_its_rule_was_not_run(here):
    text = "- {code: SCH101, reason: r, expires: never}\n- {code: PII, path: none/, reason: r, expires: 2020-01-01}\n"
    assert [(n.line, "remove it" in n.text) for n in audit(text).aside.notices] == [(1, False), (2, True)]
    assert audit(text, select=["DUP"]).aside.notices == ()


def test_every_output_for_people_counts_waived_findings(capsys, here):
    Path("waivers.yaml").write_text("- {code: PII501, reason: r, expires: never}\n")
    for form in ("text", "markdown", "github", "junit"):
        code, out, _ = run(capsys, "audit", "data", "b.jsonl", "--waivers", "waivers.yaml", "--format", form)
        assert (code, "known findings: 2 waived" in out) == (0, True), form
    _, out, _ = run(capsys, "audit", "data", "b.jsonl", "--waivers", "waivers.yaml", "--format", "json")
    assert json.loads(out)["stats"]["waived"] == 2


def test_an_expired_waiver_is_named_in_every_output(capsys, here):
    Path("waivers.yaml").write_text("# list\n- code: PII501\n  reason: r\n  expires: 2020-01-01\n")
    for form in ("text", "markdown", "github", "junit", "json", "sarif"):
        code, out, err = run(capsys, "audit", "data", "b.jsonl", "--waivers", "waivers.yaml", "--format", form)
        assert code == 1, form
        assert "expired on 2020-01-01; 2 findings count again" in (out + err).replace("\\", ""), form
        assert ("waivers.yaml:2" in err) == (form != "text"), form
    _, out, _ = run(capsys, "audit", "data", "b.jsonl", "--waivers", "waivers.yaml", "--format", "github")
    assert "::warning file=waivers.yaml,line=2,title=assay audit::the waiver of PII501 expired" in out


def test_annotations_of_waivers_and_warnings_stay_within_what_github_shows(capsys, here):
    write_rows(here / "w.jsonl", [distinct_rows(1)[0]] * 40)
    entries = [{"code": "DUP201", "reason": f"r{n}", "expires": "2020-01-01"} for n in range(30)]
    Path("w.yaml").write_text(json.dumps(entries))
    _, out, _ = run(capsys, "audit", "w.jsonl", "--waivers", "w.yaml", "--format", "github")
    warnings = [line for line in out.splitlines() if line.startswith("::warning ")]
    assert [line.startswith("::warning file=w.yaml") for line in warnings] == [True] * 5 + [False] * 4


def test_every_problem_of_a_waivers_file_is_named_at_its_line(capsys, here):
    Path("waivers.yaml").write_text(
        "- {code: PII501, reason: r}\n"
        "- {reason: r, expires: never}\n"
        "- {code: PII501, reason: '', expires: soon}\n"
        "- {code: PII501, reson: r, expires: never}\n"
        "- just a text\n"
    )
    code, _, err = run(capsys, "audit", "data", "--waivers", "waivers.yaml", "--select", "nonsense")
    assert code == 2
    for said in ("missing key `0.expires`", "`1` is not valid", "`2.reason`", "`2.expires`", "unknown key `3.reson`"):
        assert said in err
    assert "did you mean `reason`?" in err
    assert "a day such as 2027-01-31, or never" in err
    assert "nonsense" in err
    for line in range(1, 6):
        assert f"waivers.yaml:{line}" in err
    Path("waivers.yaml").write_text("- {code: exact-duplicat, path: '!x', reason: r, expires: never}\n")
    _, _, err = run(capsys, "audit", "data", "--waivers", "waivers.yaml")
    assert "waivers.yaml:1" in err
    assert "did you mean 'exact-duplicate'?" in err
    for text, said in [("a: 1", "not a list"), ("", "is empty"), ("- [", "not YAML")]:
        Path("waivers.yaml").write_text(text)
        code, _, err = run(capsys, "audit", "data", "--waivers", "waivers.yaml")
        assert (code, said in err) == (2, True), text


def test_rules_can_be_ignored_in_some_files(capsys, here):
    ignores = ("--per-file-ignores", "data/*.jsonl:PII,exact-duplicate")
    code, out, _ = run(capsys, "audit", "data", "b.jsonl", *ignores, "--format", "json")
    report = json.loads(out)
    assert code == 1
    assert [f["path"] for f in report["findings"]] == ["b.jsonl"]
    assert report["stats"]["ignored"] == 2
    assert run(capsys, "audit", "data", *ignores, "--fail-on", "info")[0] == 0
    assert run(capsys, "audit", here / "data", *ignores, "--fail-on", "info")[0] == 0, (
        "an absolute path is the same file"
    )


def test_what_is_wrong_with_ignores_is_said_at_once(capsys, here):
    wrong = ["--per-file-ignores", "data/", "--per-file-ignores", "x:exact-duplicat", "--per-file-ignores", "!x:PII"]
    code, _, err = run(capsys, "audit", "data", *wrong)
    assert code == 2
    for said in ("needs PATTERN:RULES", "did you mean 'exact-duplicate'?", "no pattern of files"):
        assert said in err


CONFIG = """\
audit:
  ignore: [duplicate]
  fail_on: warning
  max_findings: 1
  per_file_ignores: {"data/": [PII501]}
  waivers:
    - {code: PII501, path: "*.jsonl", reason: r, expires: 2020-01-01}
"""


def test_a_config_may_hold_nothing_but_the_audit(capsys, here):
    Path("assay.yaml").write_text(CONFIG)
    code, out, _ = run(capsys, "audit", "data", "b.jsonl", "--config", "assay.yaml")
    assert code == 1
    assert "1 error in 1 row; known findings: 1 ignored by file" in out
    assert "assay.yaml:7: the waiver of PII501 in *.jsonl expired" in out
    code, _, err = run(capsys, "audit", "data", "b.jsonl")
    assert (code, err) == (1, "note: assay.yaml is not used, because files are named (add --config)\n")
    assert run(capsys, "audit", "data", "b.jsonl", "--quiet")[2] == ""
    _, out, _ = run(capsys, "audit", "data", "b.jsonl", "-c", "assay.yaml", "--ignore", "PII", "--format", "json")
    assert json.loads(out)["counts"] == {"DUP201": 1}, "a flag wins over the config"
    code, _, err = run(capsys, "audit")
    assert code == 2
    assert "nothing says which files to audit" in err


def test_a_config_names_files_and_baseline_beside_it(capsys, here, monkeypatch):
    Path("assay.yaml").write_text("data: {sources: [data, b.jsonl]}\naudit: {baseline: known, waivers_file: w.yaml}\n")
    Path("w.yaml").write_text("- {code: DUP201, path: data/, reason: r, expires: never}\n")
    (here / "elsewhere").mkdir()
    monkeypatch.chdir(here / "elsewhere")
    assert run(capsys, "audit", "-c", "../assay.yaml", "--write-baseline")[0] == 0
    assert (here / "known").is_file()
    code, out, _ = run(capsys, "audit", "-c", "../assay.yaml", "--fail-on", "info")
    assert code == 0
    assert "known findings: 2 in the baseline, 1 waived" in out


def test_every_problem_of_the_audit_section_is_named_at_its_line(tmp_path):
    path = tmp_path / "assay.yaml"
    path.write_text(
        "audit:\n"
        "  select: [duplicate, exact-duplicat]\n"
        "  ignore:\n"
        "    - QUA\n"
        "    - mojibak\n"
        "  per_file_ignores:\n"
        "    tests/: [nonsense]\n"
        "  waivers_file: none\n"
        "  waivers:\n"
        "    - {code: rubbish, reason: r, expires: never}\n"
    )
    rows = write_rows(tmp_path / "rows.jsonl", distinct_rows(3))
    with pytest.raises(ConfigError) as caught:
        settings_of(AuditRequest([str(rows)], config=path))
    assert sorted(p.where.removeprefix(str(tmp_path) + "/") for p in caught.value.problems) == [
        "assay.yaml:10", "assay.yaml:2", "assay.yaml:5", "assay.yaml:7", "none"
    ]  # fmt: skip
    path.write_text("audit: {fail_on: loud, max_findings: -1, per_file_ignores: {a: QUA}, baselin: x}\ngatez: 1\n")
    with pytest.raises(ConfigError) as caught:
        settings_of(AuditRequest([str(rows)], config=path))
    assert sorted(problem.what for problem in caught.value.problems) == [
        "`audit.fail_on` is not valid",
        "`audit.max_findings` is not valid",
        "`audit.per_file_ignores.a` is not valid",
        "unknown key `audit.baselin`",
        "unknown key `gatez`",
    ]


def test_a_baseline_that_a_config_names_may_not_be_there_yet(capsys, here):
    Path("assay.yaml").write_text("data: {sources: [data]}\naudit: {baseline: known}\n")
    code, out, _ = run(capsys, "audit")
    assert code == 1
    assert "warning: known: there is no such baseline yet: every finding counts" in out
    run(capsys, "audit", "--write-baseline")
    assert run(capsys, "audit")[0] == 0


@pytest.mark.parametrize("form", ["text", "markdown", "github", "junit", "json", "sarif"])
def test_a_hostile_reason_stays_text(capsys, here, form):
    reason = "\x1b[31mred\u202e <script>a</script>\n::error::x | `y` %0A"
    Path("w.yaml").write_text(json.dumps([{"code": "PII501", "reason": reason, "expires": "2020-01-01"}]))
    code, out, err = run(capsys, "audit", "b.jsonl", "--waivers", "w.yaml", "--format", form)
    assert code == 1
    for said in (out, err):
        assert "\x1b" not in said
        assert "\u202e" not in said
        assert not any(line.startswith("::error::x") for line in said.splitlines())
    assert form in ("text", "github", "json") or "<script>" not in out
