import json

import pytest

import assay
from curate.cli import explain, rules
from curate.rules import all_rules


def test_explain_prints_the_page(capsys: pytest.CaptureFixture[str]):
    assert explain.main(["DUP203"], standalone_mode=False) == 0
    out = capsys.readouterr().out
    assert out.startswith("# DUP203 near-duplicate\n")
    assert "- `setting` (default 'default')" in out


def test_rules_lists_every_rule_as_text_and_as_json(capsys):
    assert rules.main([], standalone_mode=False) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(all_rules())
    assert rules.main(["--format", "json"], standalone_mode=False) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [rule["code"] for rule in listed] == [rule.code for rule in all_rules()]
    near = next(rule for rule in listed if rule["name"] == "near-duplicate")
    assert near["options"]["policy"]["default"] == "longest"


def test_an_unknown_code_is_exit_2(capsys):
    assert assay.run(["audit", "--select", "XYZ999", "."]) == 2
    assert "XYZ999" in capsys.readouterr().err
