import json
import os
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.cells import cell_len

import assay
from curate.outputs import FORMATS, render
from curate.outputs.excerpt import Excerpts
from curate.request import AuditRequest, run_audit
from schemas.finding import Severity
from schemas.terminal import Screen
from tests.curate.made_rows import chat, distinct_rows, write_rows

HOSTILE = "\x1b[31mred\x1b[0m <script>alert(1)</script> | `x` ::error::no & \u202e @you [a](http://b)"


def run(capsys: pytest.CaptureFixture[str], *args: object) -> tuple[int, str, str]:
    code = assay.run([str(arg) for arg in args])
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture
def dirty(tmp_path: Path) -> Path:
    rows = [
        *distinct_rows(12),
        b'{"messages": [',
        distinct_rows(1)[0],
        chat("Who is jane.miller@posteo.net?", HOSTILE),
        {"messages": [{"role": "wizard", "content": HOSTILE}, {"role": "assistant", "content": "b"}]},
    ]
    return write_rows(tmp_path / "dirty.jsonl", rows)


def test_clean_rows_pass(capsys, tmp_path):
    code, out, _ = run(capsys, "audit", write_rows(tmp_path / "rows.jsonl", distinct_rows(30)))
    assert code == 0
    assert out.endswith("30 rows: nothing found\n")


def test_each_affected_row_is_one_finding_at_its_line(capsys, dirty):
    code, out, _ = run(capsys, "audit", dirty, "--format", "json")
    found = json.loads(out)
    assert code == 1
    assert list(found) == ["schema", "inputs", "rows", "findings", "counts", "stats"]
    assert found["schema"] == "assay/audit/1"
    assert found["rows"] == 16
    assert [(item["path"], item["rows"], len(item["sha256"])) for item in found["inputs"]] == [(str(dirty), 16, 64)]
    assert [(f["code"], f["line"], f["row"], f["turn"]) for f in found["findings"]] == [
        ("SCH101", 13, 12, None),
        ("DUP201", 14, 13, None),
        ("PII501", 15, 14, 0),
        ("QUA602", 15, 14, 1),
        ("QUA604", 15, 14, 1),
        ("QUA602", 16, 15, 0),
        ("QUA604", 16, 15, 0),
        ("SCH111", 16, 15, 0),
    ]
    twin = found["findings"][1]["evidence"]["twin"]
    assert (twin["path"], twin["line"], twin["row"]) == (str(dirty), 1, 0)
    assert found["counts"] == {"DUP201": 1, "PII501": 1, "QUA602": 2, "QUA604": 2, "SCH101": 1, "SCH111": 1}
    idle = {"LEK401", "LEK403", "LEK410", "LEK411", "LEK412", "LEK413", "SCH140", "SCH141"}
    assert idle <= found["stats"]["not_run"].keys()


def test_fingerprints_survive_another_order_and_another_name(tmp_path):
    rows = [*distinct_rows(5), distinct_rows(1)[0], chat("mail kim@kde.org", "ok")]
    one = run_audit(AuditRequest([str(write_rows(tmp_path / "one.jsonl", rows))]))
    other = run_audit(AuditRequest([str(write_rows(tmp_path / "other.jsonl", rows[::-1]))]))
    assert len(one.findings) == 2
    assert sorted(f.fingerprint for f in one.findings) == sorted(f.fingerprint for f in other.findings)


def test_two_faults_of_one_rule_in_a_row_are_one_finding_that_names_both_turns(tmp_path):
    messages = [{"role": role, "content": "x"} for role in ("wizard", "witch", "assistant")]
    path = write_rows(tmp_path / "rows.jsonl", [{"messages": messages}])
    found = run_audit(AuditRequest([str(path)], select=["unknown-role"])).findings
    assert [(f.turn, f.evidence["turns"]) for f in found] == [(0, [0, 1])]


@pytest.mark.parametrize("form", FORMATS)
def test_a_mail_address_reaches_no_output_and_no_escape_the_terminal(form, capsys, dirty):
    _, out, err = run(capsys, "audit", dirty, "--format", form, "--max-findings", 0)
    assert "jane.miller" not in out + err
    assert "<mail-" in out or "mail-" in out
    assert "\x1b" not in out
    assert "\u202e" not in out


def test_junit_is_xml_with_one_case_for_each_rule_and_file(capsys, dirty):
    _, out, _ = run(capsys, "audit", dirty, "--format", "junit", "--select", "SCH,DUP201")
    suite = ElementTree.fromstring(out)
    cases = {case.get("name"): case for case in suite.iter("testcase")}
    assert suite.get("failures") == "2"
    assert int(suite.get("tests", "0")) == len(cases)
    failure = cases["SCH111 unknown-role"].find("failure")
    assert failure is not None
    assert f"{dirty}:16: unknown role 'wizard'" in (failure.text or "")
    assert cases["DUP201 exact-duplicate"].find("failure") is None, "a warning does not fail a case"
    assert cases["DUP201 exact-duplicate"].find("system-out") is not None
    assert len(cases["SCH113 empty-answer"]) == 0


def test_github_annotations_are_limited_and_say_the_sum(capsys, tmp_path):
    path = write_rows(
        tmp_path / "a,b:c.jsonl", [b"{", *[f'{{"text": "row {n} kim@kde.org"}}'.encode() for n in range(40)]]
    )
    _, out, _ = run(capsys, "audit", path, "--format", "github", "--ignore", "duplicate")
    lines = out.splitlines()
    assert sum(line.startswith("::error ") for line in lines) == 9
    assert lines[0].startswith("::error file=")
    assert "a%2Cb%3Ac.jsonl,line=1,title=SCH101 broken-line::" in lines[0]
    assert "PII501 40" in lines[-1]


def test_markdown_neither_links_nor_mentions_nor_opens_tags(capsys, dirty):
    _, out, _ = run(capsys, "audit", dirty, "--format", "markdown")
    assert "<script>" not in out
    assert "[a](http" not in out
    assert "@you" not in out
    assert "\\@&#8203;you" in out
    assert "&lt;mail" in out
    assert "\\&lt;" not in out, "an escaped ampersand would show the entity's name"


def test_sarif_names_rule_level_line_and_twin(capsys, dirty):
    _, out, _ = run(capsys, "audit", dirty, "--format", "sarif")
    report = json.loads(out)
    driver = report["runs"][0]["tool"]["driver"]
    results = {result["ruleId"]: result for result in report["runs"][0]["results"]}
    assert report["version"] == "2.1.0"
    assert [rule["id"] for rule in driver["rules"]] == sorted(rule["id"] for rule in driver["rules"])
    assert driver["rules"][results["DUP201"]["ruleIndex"]]["id"] == "DUP201"
    assert results["DUP201"]["level"] == "warning"
    place = results["DUP201"]["locations"][0]["physicalLocation"]
    assert place["region"] == {"startLine": 14}
    assert results["DUP201"]["relatedLocations"][0]["physicalLocation"]["region"] == {"startLine": 1}
    assert len(results["DUP201"]["partialFingerprints"]["assay/v1"]) == 32


def test_text_shows_three_of_each_rule_and_counts_the_rest(capsys, tmp_path):
    path = write_rows(tmp_path / "rows.jsonl", [chat(f"{n} kim@kde.org", "ok") for n in range(7)])
    _, few, _ = run(capsys, "audit", path, "--select", "pii")
    _, all_of_them, _ = run(capsys, "audit", path, "--select", "pii", "--max-findings", 0)
    assert few.count("rows.jsonl:") == 1 + 3
    assert "… 4 more" in few
    assert all_of_them.count("rows.jsonl:") == 1 + 7


@pytest.mark.parametrize(("fail_on", "code"), [("never", 0), ("error", 0), ("warning", 1), ("info", 1)])
def test_fail_on_decides_the_exit_code(fail_on, code, capsys, tmp_path):
    path = write_rows(tmp_path / "rows.jsonl", [chat("q", "a"), chat("q", "a")])
    assert run(capsys, "audit", path, "--fail-on", fail_on)[0] == code


def test_no_rows_are_inconclusive(capsys, tmp_path):
    code, out, _ = run(capsys, "audit", write_rows(tmp_path / "empty.jsonl", []))
    assert code == 4
    assert "no rows" in out


def test_what_cannot_be_opened_is_exit_2(capsys, tmp_path):
    code, out, err = run(capsys, "audit", tmp_path / "none.jsonl")
    assert (code, out) == (2, "")
    assert "none.jsonl" in err


def test_an_unknown_rule_is_exit_2_with_the_nearest_name(capsys, tmp_path):
    path = write_rows(tmp_path / "rows.jsonl", [chat("q", "a")])
    code, _, err = run(capsys, "audit", path, "--select", "exact-duplicat")
    assert code == 2
    assert "exact-duplicate" in err


def test_an_option_can_be_set_and_a_bad_one_is_refused(capsys, tmp_path):
    path = write_rows(tmp_path / "rows.jsonl", [chat("kim@kde.org", "ok")])
    assert run(capsys, "audit", path)[0] == 1
    assert run(capsys, "audit", path, "--set", "mail-address.allow=[kde.org]")[0] == 0
    assert run(capsys, "audit", path, "--set", "mail-address.alow=[kde.org]")[0] == 2
    assert run(capsys, "audit", path, "--set", "nonsense")[0] == 2


def test_against_finds_eval_items(capsys, tmp_path):
    other = chat("Explain: what do seven llamas eat?", "I do not know")
    rows = write_rows(tmp_path / "rows.jsonl", [*distinct_rows(5), other])
    evals = write_rows(tmp_path / "evals.jsonl", [{"question": "what do seven LLAMAS eat", "answer": "hay"}])
    clean = write_rows(tmp_path / "clean.jsonl", distinct_rows(5))
    wrapped = write_rows(tmp_path / "wrapped.jsonl", [chat("What do seven llamas eat?", "hay")])
    assert run(capsys, "audit", rows, "--against", evals)[0] == 0
    code, out, _ = run(capsys, "audit", wrapped, "--against", evals, "--format", "json")
    assert code == 1
    assert [f["code"] for f in json.loads(out)["findings"]] == ["LEK401"]
    assert run(capsys, "audit", clean, "--against", evals)[0] == 0


def test_the_result_can_go_to_a_file(capsys, tmp_path):
    path = write_rows(tmp_path / "rows.jsonl", [chat("q", "a")])
    code, out, _ = run(capsys, "audit", path, "--format", "json", "--out", tmp_path / "audit.json")
    assert (code, out) == (0, "")
    assert json.loads((tmp_path / "audit.json").read_text("utf-8"))["rows"] == 1
    assert run(capsys, "audit", path, "--out", tmp_path / "none" / "audit.txt")[0] == 2


def test_levels_of_the_config_win(tmp_path):
    path = write_rows(tmp_path / "rows.jsonl", [chat("kim@kde.org", "ok")])
    found = run_audit(AuditRequest([str(path)], overrides=["pii.level=info"]))
    assert [finding.severity for finding in found.findings] == [Severity.INFO]


def test_masking_holds_when_the_rule_for_it_is_not_selected(capsys, tmp_path):
    path = write_rows(tmp_path / "rows.jsonl", [chat("kim@kde.org", "a"), chat("kim@kde.org", "a"), b"{ kim@kde.org"])
    code, out, _ = run(capsys, "audit", path, "--select", "schema,exact-duplicate")
    assert code == 1
    assert "kim@kde.org" not in out


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_takes_a_file_name_that_is_not_utf8(capsys, tmp_path, form):
    path = tmp_path / os.fsdecode(b"caf\xe9.jsonl")
    write_rows(path, [*distinct_rows(3), b"{"])
    code, out, _ = run(capsys, "audit", path, "--format", form)
    assert code == 1
    assert r"caf\xe9" in out.replace("\\\\", "\\") or "caf%5Cxe9" in out


def test_the_result_never_replaces_the_rows(capsys, tmp_path):
    rows = write_rows(tmp_path / "rows.jsonl", distinct_rows(3))
    before = rows.read_bytes()
    code, _, err = run(capsys, "audit", rows, "--out", rows)
    assert (code, rows.read_bytes()) == (2, before)
    assert "would replace the data" in err
    code, _, _ = run(capsys, "audit", rows, "--out", tmp_path / "found.txt")
    assert code == 0
    assert "3 rows: nothing found" in (tmp_path / "found.txt").read_text()


def test_other_formats_can_be_written_by_the_same_run(capsys, tmp_path):
    rows = write_rows(tmp_path / "rows.jsonl", distinct_rows(3))
    also = ("--also", f"sarif:{tmp_path}/a.sarif", "--also", f"markdown:{tmp_path}/a.md")
    code, out, _ = run(capsys, "audit", rows, *also)
    assert (code, out.endswith("3 rows: nothing found\n")) == (0, True)
    assert json.loads((tmp_path / "a.sarif").read_text())["version"] == "2.1.0"
    assert "3 rows: nothing found" in (tmp_path / "a.md").read_text()
    before = rows.read_bytes()
    assert run(capsys, "audit", rows, "--also", f"json:{rows}")[0] == 2
    assert rows.read_bytes() == before
    for wrong in ("sarif", "sarif:", "pdf:x", "json:/none/x"):
        assert run(capsys, "audit", rows, "--also", wrong)[0] == 2, wrong


def test_a_missing_file_of_the_command_line_is_not_blamed_on_a_config(capsys, tmp_path):
    code, _, err = run(capsys, "audit", tmp_path / "none.jsonl", "")
    assert code == 2
    assert "config" not in err


def test_every_unknown_rule_and_option_is_named_at_once(capsys, tmp_path):
    rows = write_rows(tmp_path / "rows.jsonl", distinct_rows(3))
    wrong = ("--select", "nonsense", "--ignore", "rubbish", "--set", "near-duplicate.threshold=5")
    code, _, err = run(capsys, "audit", rows, *wrong, "--set", "duplicate.action=redact", "--set", "balderdash.x=1")
    assert code == 2
    for said in ("nonsense", "rubbish", "balderdash", "`threshold` of rule `near-duplicate`", "cannot redact"):
        assert said in err


def test_statistics_count_labels_and_sources_masked(capsys, tmp_path):
    rows = [chat(f"mail {n}", ["ham", "spam", "kim@kde.org"][n % 3]) | {"source": f"list{n % 2}"} for n in range(60)]
    rows += [chat("what is this?", "neither of both")]
    path = write_rows(tmp_path / "rows.jsonl", rows)
    _, out, _ = run(capsys, "audit", path, "--format", "json", "--select", "SCH")
    stats = json.loads(out)["stats"]
    assert list(stats["labels"].items()) == [("ham", 20), ("<mail-7708>", 20), ("spam", 20), ("(other answers)", 1)]
    assert stats["origins"] == {"list0": 30, "list1": 30}
    assert stats["chars_per_turn"] == {"p5": 3.0, "p50": 7.0, "p95": 11.0}
    _, out, _ = run(capsys, "audit", path, "--statistics", "--select", "SCH")
    assert "labels  ham 20, <mail-7708> 20, spam 20, (other answers) 1" in out


def test_free_answers_have_no_labels(capsys, tmp_path):
    path = write_rows(tmp_path / "rows.jsonl", [chat(f"q{n}", f"a{n}") for n in range(60)])
    _, out, _ = run(capsys, "audit", path, "--format", "json", "--select", "SCH")
    assert json.loads(out)["stats"]["labels"] == {}


def test_text_for_a_screen_is_painted_and_cut_to_its_width(tmp_path):
    wide = "日本語の文章" * 30
    rows = [chat(wide, "ok"), chat(wide, "ok"), chat("kim@kde.org " + "x" * 200, "fine")]
    audit = run_audit(AuditRequest([str(write_rows(tmp_path / "rows.jsonl", rows))]))
    plain = render(audit, "text", None)
    painted = render(audit, "text", None, screen=Screen(columns=60))
    assert "\x1b" not in plain
    assert "  → let `assay curate` redact it (step `pii`), or list harmless addresses under `allow`\n" in plain
    assert "\x1b[31;1mPII501 mail-address\x1b[0m  error, 1 row" in painted
    assert "\x1b[33;1mDUP201 exact-duplicate\x1b[0m  warning, 1 row" in painted
    bare = render(audit, "text", None, screen=Screen(columns=60, colour=False))
    assert re.sub(r"\x1b\[[\d;]*m", "", painted) == bare
    assert "redact it (step `pii`), or list\n    harmless addresses under `allow`\n" in bare, "broken between words"
    excerpts = [line for line in bare.splitlines() if line.startswith("      ")]
    assert [cell_len(line) <= 60 and line.endswith("…") for line in excerpts] == [True, True]
    assert painted.index("PII501") < painted.index("DUP201"), "the worst first"


def test_many_files_are_summed_up(capsys, tmp_path):
    for number in range(12):
        write_rows(tmp_path / f"{number:02}.jsonl", [chat(f"question {number}", f"answer {number}")])
    _, out, _ = run(capsys, "audit", tmp_path)
    assert out.count(".jsonl: 1 row of chat (messages), jsonl\n") == 8
    assert "and 4 more files: 4 rows" in out


def test_rows_of_several_shapes_are_counted_by_shape(capsys, tmp_path):
    path = write_rows(tmp_path / "rows.jsonl", [*distinct_rows(3), {"text": "plain"}, {"what": 1}])
    _, out, _ = run(capsys, "audit", path)
    assert "rows.jsonl: 5 rows: 3 chat (messages), 1 plain text, 1 of no known shape, jsonl (shapes are mixed)" in out


def test_an_excerpt_shows_the_fault_wherever_in_the_turn_it_stands(tmp_path):
    long = " ".join(f"word{n}" for n in range(200))
    row = chat(f"{long} write to jane.miller@posteo.net {long}", f"{long} ends with the")
    audit = run_audit(AuditRequest([str(write_rows(tmp_path / "rows.jsonl", [row]))]))
    excerpts = {finding.code: Excerpts(audit).of(finding) for finding in audit.findings}
    assert re.match(r"user: …word\d+ word\d+ write to <mail-....> word0 word1 ", excerpts["PII501"])
    assert re.match(r"assistant: …(word\d+ )+ends with the$", excerpts["QUA606"])
    assert all(len(excerpt) <= 110 for excerpt in excerpts.values())


def test_the_worst_comes_first_and_then_what_is_in_most_rows(capsys, dirty):
    _, out, _ = run(capsys, "audit", dirty, "--select", "SCH,DUP,PII,QUA602,QUA604")
    headings = re.findall(r"(?m)^([A-Z]{3}\d{3}) [a-z-]+  (\w+), (\d+) row", out)
    assert [(weight, -int(rows), code) for code, weight, rows in headings] == sorted(
        (weight, -int(rows), code) for code, weight, rows in headings
    )
    assert [code for code, *_ in headings] == ["PII501", "SCH101", "SCH111", "QUA602", "QUA604", "DUP201"]


def test_what_is_about_lines_or_files_is_not_counted_as_rows(capsys, tmp_path):
    path = write_rows(tmp_path / "rows.jsonl", [*distinct_rows(3), b"", b""])
    _, out, _ = run(capsys, "audit", path)
    assert "SCH106 blank-line  info, 2 lines" in out
    assert out.count("3 rows: 2 notes\n") == 1
    labels = [chat(f"{name} of {n}", "spam") for n, name in enumerate(["red", "blue"] * 40)]
    _, out, _ = run(capsys, "audit", write_rows(tmp_path / "labels.jsonl", labels), "--select", "BAL801")
    assert "BAL801 label-imbalance  warning, 1 file" in out


def test_a_comment_is_never_longer_than_github_takes(tmp_path):
    rows = [*distinct_rows(400), *distinct_rows(400), *({f"key{n}": "*" * 200} for n in range(400))]
    audit = run_audit(AuditRequest([str(write_rows(tmp_path / "rows.jsonl", rows))]))
    text = render(audit, "markdown", 0, True)
    assert 60_000 < len(text) <= 65_536
    assert text.count("<details>") == text.count("</details>")
    assert re.search(r"(?m)^- and \d+ more$", text)
    assert "rules have no room in a comment" in text or text.count("<details>") == len(audit.counts)
    assert "- not run: LEK413" in text


def test_statistics_count_languages_and_say_of_how_many_turns(capsys, tmp_path):
    german = chat(
        "Warum ist der Himmel am Abend rot und am Mittag blau?", "Weil die Luft das kurze Licht stärker streut."
    )
    path = write_rows(tmp_path / "rows.jsonl", [*distinct_rows(10), german, chat("Ja?", "Ja.")])
    _, out, _ = run(capsys, "audit", path, "--format", "json")
    stats = json.loads(out)["stats"]
    assert stats["languages"]["de"] == 2
    assert sum(stats["languages"].values()) <= stats["turns_read_for_languages"] <= 22
    _, out, _ = run(capsys, "audit", path, "--statistics")
    assert re.search(r"languages  .*de 2", out)
    assert "tokens estimated  yes" in out


def test_of_copies_one_row_always_stays_without_a_finding(tmp_path):
    story = " ".join(f"word{n}" for n in range(40))
    rows = [{"text": story}, {"text": story}, {"text": f"  {story.upper()}  "}, {"text": story.replace("word7 ", "x ")}]
    audit = run_audit(AuditRequest([str(write_rows(tmp_path / "rows.jsonl", rows))], select=["DUP"]))
    copies = [(f.code, f.row) for f in audit.findings if f.code != "DUP204"]
    assert copies == [("DUP201", 1), ("DUP202", 2)], "row 0 is not a near-duplicate of row 2 as well"
    alone = run_audit(AuditRequest([str(tmp_path / "rows.jsonl")], select=["DUP203"]))
    assert {f.row for f in alone.findings} == {0, 1}, "by itself the rule reports what the search found"
