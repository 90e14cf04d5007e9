"""Answers and metadata against a schema of the user's own."""

import json
from pathlib import Path

import pytest

import assay
from curate.pipeline import curate_stage
from curate.request import AuditRequest, run_audit
from curate.rules import select_rules
from curate.user_schema import MAX_SCHEMA_BYTES
from schemas.errors import ConfigError, UserError
from tests.curate.made_rows import chat, corpus_from, distinct_rows, make_project, write_rows

SCHEMA = {
    "type": "object",
    "properties": {"label": {"enum": ["spam", "ham"]}, "score": {"type": "number"}, "day": {"format": "date"}},
    "required": ["label"],
}
MODEL = """
from __future__ import annotations
from pydantic import BaseModel, field_validator

class Inner(BaseModel):
    score: float

class Answer(BaseModel):
    label: str
    inner: Inner | None = None

    @field_validator("label")
    @classmethod
    def known(cls, value: str) -> str:
        if value == "crash":
            raise RuntimeError("no such label")
        if value not in ("spam", "ham"):
            raise ValueError("spam or ham")
        return value
"""


def hits(rows, code="SCH140", root=None, **options):
    (rule,) = select_rules([code], {code: options}, root=root)
    return list(rule.find(corpus_from(*rows)))


def test_an_answer_that_does_not_fit_names_path_found_and_expected():
    (hit,) = hits([chat("?", '{"label": "eggs", "score": "high"}'), chat("?", '{"label": "ham"}')], json_schema=SCHEMA)
    assert (hit.index, hit.turn) == (0, 1)
    assert hit.message == """the answer does not meet the schema at $.label: "eggs" is not one of "spam" or "ham\""""
    assert hit.evidence == {
        "path": "$.label",
        "found": '"eggs"',
        "expected": "properties/label/enum",
        "also": ['$.score: "high" is not of type "number"'],
    }


@pytest.mark.parametrize(
    ("answer", "found"),
    [("spam", "'spam'"), ("```json\n{}\n```", "a code fence around it"), ("", "''"), ('{"label": "ham"', None)],
)
def test_an_answer_that_is_not_json_is_said_to_be_none(answer, found):
    (hit,) = hits([chat("?", answer)], json_schema=SCHEMA)
    assert hit.message.startswith("the answer is not JSON")
    assert hit.evidence["found"] == found or found is None


def test_formats_are_checked_for_a_schema_that_the_user_named():
    assert len(hits([chat("?", '{"label": "ham", "day": "tomorrow"}')], json_schema=SCHEMA)) == 1
    assert hits([chat("?", '{"label": "ham", "day": "2026-01-31"}')], json_schema=SCHEMA) == []


def test_the_last_turn_or_all_of_them_and_no_call_of_a_tool():
    call = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    turns = [("user", "a"), ("assistant", "what?"), ("user", "b"), ("assistant", '{"label": "ham"}')]
    messages = [{"role": role, "content": said} for role, said in turns]
    calling = [messages[0], {"role": "assistant", "content": "", "tool_calls": [call]}]
    rows = [{"messages": messages}, {"messages": calling}]
    assert hits(rows, json_schema=SCHEMA) == []
    assert [(hit.index, hit.turn) for hit in hits(rows, json_schema=SCHEMA, turns="all")] == [(0, 1)]


def test_rejected_answers_and_feedback_may_be_wrong_on_purpose():
    good, bad = '{"label": "ham"}', "ham"
    rows = [
        {"prompt": "?", "chosen": good, "rejected": bad},
        {"prompt": "?", "chosen": bad, "rejected": good},
        {"prompt": "?", "completion": bad, "label": False},
        {"prompt": "?", "completion": bad},
    ]
    assert [hit.index for hit in hits(rows, json_schema=SCHEMA)] == [1, 3]


def test_metadata_is_every_field_that_is_no_content():
    rows = [chat("a", "b", label="ham"), chat("a", "b", label=5), {"text": "a", "label": "spam"}, chat("a", "b")]
    found = hits(rows, "SCH141", json_schema=SCHEMA)
    assert [(hit.index, hit.turn, hit.evidence["path"]) for hit in found] == [(1, None, "$.label"), (3, None, "$")]


def test_a_file_is_found_beside_the_config_and_part_of_the_fingerprint(tmp_path):
    rows = [*distinct_rows(30), chat("?", "no JSON")]
    (tmp_path / "schemas").mkdir()
    schema = tmp_path / "schemas" / "answer.json"
    schema.write_text(json.dumps(SCHEMA))
    options = {"answer-schema": {"json_schema": "schemas/answer.json"}}
    project = make_project(tmp_path, rows, curate={"steps": ["answer-schema"], "rules": options})
    found = run_audit(AuditRequest(config=project.path, select=["SCH140"])).findings
    assert len(found) == 31
    before = curate_stage(project)
    assert [ref.role for ref in before.inputs] == ["source", "rule"]
    schema.write_text(json.dumps({"type": "string"}))
    assert curate_stage(project).fingerprint != before.fingerprint


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "the schema of rule answer-schema cannot be opened"),
        (b"{", "the schema is not JSON"),
        (b"\xff", "the schema is not JSON"),
        (b'{"type": "dict"}', "this is no JSON Schema that can be used"),
        (b'{"$ref": "https://example.com/x.json"}', "a schema refers to something outside itself"),
        (b'{"$ref": "other.json"}', "a schema refers to something outside itself"),
        (b" " * (MAX_SCHEMA_BYTES + 1), "the schema is too large"),
        (b"[" * 3000, "the schema is not JSON"),
    ],
)
def test_a_bad_file_is_one_error_of_the_config(content, said, tmp_path):
    path = tmp_path / "schema.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        select_rules(["SCH140"], {"SCH140": {"json_schema": "schema.json"}}, root=tmp_path)
    (problem,) = caught.value.problems
    assert problem.what == said
    assert problem.where == str(path)


@pytest.mark.parametrize(
    "options",
    [
        {"json_schema": {}, "pydantic_model": "a.py:B"},
        {"pydantic_model": "a.txt:B"},
        {"pydantic_model": "a.py"},
        {"pydantic_model": "a.py:B()"},
        {"json_schema": ""},
        {"json_schema": 5},
    ],
)
def test_options_that_make_no_sense_are_refused(options):
    with pytest.raises(ConfigError):
        select_rules(["SCH140"], {"SCH140": options})


def test_a_pydantic_model_checks_and_is_run_only_when_rows_are(tmp_path):
    (tmp_path / "model.py").write_text(MODEL + "\n(__import__('pathlib').Path(__file__).parent / 'ran').touch()\n")
    (rule,) = select_rules(["SCH140"], {"SCH140": {"pydantic_model": "model.py:Answer"}}, root=tmp_path)
    assert not (tmp_path / "ran").exists()
    rows = [chat("?", text) for text in ('{"label": "ham"}', '{"label": "eggs"}', '{"label": "ham", "inner": {}}')]
    found = list(rule.find(corpus_from(*rows)))
    assert (tmp_path / "ran").exists()
    assert [(hit.index, hit.evidence["path"], hit.evidence["expected"]) for hit in found] == [
        (1, "$.label", "value_error"),
        (2, "$.inner.score", "missing"),
    ]


@pytest.mark.parametrize(
    "source", ["def (", "raise SystemError('x')", "Other = 1", "Answer = 5", "import nothing_here"]
)
def test_a_file_that_does_not_run_or_define_the_model_is_a_clear_error(source, tmp_path):
    (tmp_path / "model.py").write_text(source)
    (rule,) = select_rules(["SCH140"], {"SCH140": {"pydantic_model": "model.py:Answer"}}, root=tmp_path)
    with pytest.raises(UserError, match="cannot be loaded"):
        list(rule.find(corpus_from(chat("?", "{}"))))


def test_a_model_that_fails_by_itself_is_a_clear_error(tmp_path):
    (tmp_path / "model.py").write_text(MODEL)
    (rule,) = select_rules(["SCH140"], {"SCH140": {"pydantic_model": "model.py:Answer"}}, root=tmp_path)
    with pytest.raises(UserError, match="the model failed"):
        list(rule.find(corpus_from(chat("?", '{"label": "crash"}'))))


def test_without_a_schema_the_rules_are_not_run_and_say_so(tmp_path, capsys):
    path = write_rows(tmp_path / "rows.jsonl", distinct_rows(3))
    assert assay.run(["audit", str(path), "--select", "SCH140,SCH141"]) == 0
    said = "SCH140, SCH141 were not run: no schema was given (`json_schema` or `pydantic_model`)"
    assert said in capsys.readouterr().out


def test_a_schema_can_be_set_on_the_command_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("schema.json").write_text(json.dumps(SCHEMA))
    path = write_rows(tmp_path / "rows.jsonl", [chat("?", "kim@kde.org"), chat("?", '{"label": "kim@kde.org"}')])
    arguments = ["audit", str(path), "--select", "SCH140", "--set", "answer-schema.json_schema=schema.json"]
    assert assay.run(arguments) == 1
    out = capsys.readouterr().out
    assert "SCH140 answer-schema  error, 2 rows" in out
    assert "kim@kde.org" not in out
