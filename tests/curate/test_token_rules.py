"""Token rules against a tokenizer whose tokens are bytes, so that every count can be made by hand."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

import assay
from curate.request import AuditRequest, run_audit
from curate.row_tokens import estimated_tokens, row_tokens
from curate.rules import select_rules
from tests.curate.made_rows import chat, corpus_from, settings_for, write_rows
from tests.tiny_model import write_tiny_tokenizer

AROUND = 1 + len("user\n") + 1 + 1  # start, role and line break, end, line break
ANSWERED = 1 + len("assistant\n") + 1  # start, role, end; nothing after the last token with loss counts


def measured(*rows, template="chatml", max_length=None):
    return row_tokens(replace(corpus_from(*rows), token_settings=settings_for(template, max_length))).to_dicts()


def test_tokens_and_loss_are_counted_exactly():
    (row,) = measured(chat("abc", "défg"))
    assert row["tokens"] == AROUND + 3 + ANSWERED + 5
    assert row["supervised"] == row["kept"] == 5 + 1
    assert (row["ends"], row["answer_fits"], row["reason"], row["lost_turn"]) == (True, True, None, None)


def test_what_a_cut_at_the_end_leaves_of_the_answer():
    whole = AROUND + 3 + ANSWERED + 5
    (row,) = measured(chat("abc", "défg"), max_length=whole - 2)
    assert (row["supervised"], row["kept"], row["answer_fits"]) == (6, 4, True)
    (row,) = measured(chat("abc", "défg"), max_length=whole - 4)
    assert (row["supervised"], row["kept"], row["answer_fits"]) == (6, 2, False), "three characters can be cut"


def test_weights_and_tools_come_from_the_record():
    turns = [*chat("abc", "no")["messages"], *chat("abc", "yes")["messages"]]
    turns[1]["weight"] = 0
    (row,) = measured({"messages": turns})
    assert row["supervised"] == len("yes") + 1


def test_all_kinds_that_a_template_renders_are_measured_and_no_others():
    rows = [
        {"prompt": "abc", "completion": "de"},
        {"prompt": "abc", "chosen": "de", "rejected": "fghij"},
        {"prompt": "abc", "completion": "de", "label": True},
        {"text": "abc"},
        b"{",
        chat("abc", "de"),
    ]
    found = measured(*rows)
    assert [row["index"] for row in found] == [0, 1, 2, 5]
    assert {row["tokens"] for row in found} == {AROUND + 3 + ANSWERED + 2}


def test_a_template_that_moves_a_turn_is_caught():
    rows = [{"messages": [{"role": r, "content": f"the {r} speaks"} for r in ("system", "user", "assistant")]}]
    assert measured(*rows)[0]["lost"] is None
    assert [measured(*rows, template="late")[0][key] for key in ("lost_turn", "lost")] == [1, "out of order"]


def test_estimates_need_no_tokenizer_and_say_so(tmp_path):
    corpus = corpus_from(chat("a" * 400, "b" * 40))
    assert estimated_tokens(corpus)["tokens"].to_list() == [100 + 4 + 10 + 4]
    path = write_rows(tmp_path / "rows.jsonl", [chat("a" * 400, "b" * 40), chat("a", "b")])
    found = run_audit(AuditRequest([str(path)], max_length=117)).findings
    assert [(f.code, f.line, f.severity, f.evidence["estimated"]) for f in found] == [("TOK701", 1, "info", True)]
    assert "estimated" in found[0].message


def test_the_command_measures_with_a_folder_that_holds_no_weights(tmp_path, capsys):
    write_tiny_tokenizer(tmp_path / "model")
    path = write_rows(tmp_path / "rows.jsonl", [chat("why " * 200, "because"), chat("Hi", "Hello")])
    code = assay.run(["audit", str(path), "--model", str(tmp_path / "model"), "--format", "json"])
    found = json.loads(capsys.readouterr().out)
    assert code == 0
    assert [(f["code"], f["line"]) for f in found["findings"]] == [("TOK701", 1), ("TOK704", 1)]
    assert found["findings"][0]["evidence"] == {"tokens": 827, "max_length": 512, "estimated": False}
    tokens = found["stats"]["tokens_per_row"]
    assert (tokens["p5"], tokens["p95"]) == (27, 827)
    assert found["stats"]["supervised_tokens_per_row"]["p95"] == len("because") + 1
    assert found["stats"]["tokens_estimated"] is False


@pytest.mark.parametrize("model", ["no-such-folder/", "./nowhere", "smollm2-135m-instruct"])
def test_a_model_that_is_not_here_is_one_clear_error(tmp_path, capsys, monkeypatch, model):
    monkeypatch.setenv("ASSAY_CACHE", str(tmp_path / "cache"))
    path = write_rows(tmp_path / "rows.jsonl", [chat("Hi", "Hello")])
    assert assay.run(["audit", str(path), "--model", model]) == 2
    err = capsys.readouterr().err
    assert "tokenizer" in err
    assert model in err


def test_a_folder_without_a_chat_template_is_one_clear_error(tmp_path, capsys):
    write_tiny_tokenizer(tmp_path / "model", template=None)
    path = write_rows(tmp_path / "rows.jsonl", [chat("Hi", "Hello")])
    assert assay.run(["audit", str(path), "--model", str(tmp_path / "model")]) == 2
    assert "no chat template" in capsys.readouterr().err


def test_token_rules_name_why_they_did_not_run(tmp_path):
    path = write_rows(Path(tmp_path) / "rows.jsonl", [chat("Hi", "Hello")])
    found = run_audit(AuditRequest([str(path)], select=["token"]))
    assert set(found.not_run) == {rule.code for rule in select_rules(["token"])}
    assert "--max-length" in found.not_run["TOK701"]
    assert "--model" in found.not_run["TOK702"]
