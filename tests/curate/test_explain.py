import json

import pytest

import assay
from curate.cli import explain, rules
from curate.outputs.rule_page import rendered
from curate.rules import all_rules
from curate.rules.catalogue import describe, resolve
from schemas.terminal import Screen


def test_explain_prints_the_page_without_markdown(capsys: pytest.CaptureFixture[str]):
    assert explain.main(["DUP203"], standalone_mode=False) == 0
    out = capsys.readouterr().out
    assert out.startswith(
        "DUP203 near-duplicate\n\n  A row that says almost the same as another row.\n\nWhat it does\n  "
    )
    assert "\n  - `setting` (default 'default'): `default` aligns the words of two rows;\n    `fast` " in out
    assert "#" not in out
    assert "\x1b" not in out
    assert max(map(len, out.splitlines())) <= 80


def test_explain_gives_the_page_as_markdown_and_as_json(capsys):
    assert explain.main(["DUP203", "--format", "markdown"], standalone_mode=False) == 0
    assert capsys.readouterr().out == resolve("DUP203")[0].page()
    assert explain.main(["pii", "--format", "json"], standalone_mode=False) == 0
    assert "PII501" in [rule["code"] for rule in json.loads(capsys.readouterr().out)]


PAGE = """\
# A b

One line
goes on with `some code` in it.

## List
- first `x`
  and more
- second
1. third

```json
{"a":   1}
```
"""


def test_a_page_is_wrapped_and_painted_for_its_screen():
    assert rendered(PAGE, Screen(columns=30, colour=False)) == (
        "A b\n\n  One line goes on with\n  `some code` in it.\n\n"
        "List\n  - first `x` and more\n  - second\n  1. third\n\n"
        '    {"a":   1}\n'
    )
    painted = rendered(PAGE, Screen(columns=80))
    assert painted.startswith("\x1b[1;36mA b\x1b[0m\n\n  One line goes on with \x1b[36msome code\x1b[0m in it.\n")
    assert "\\x1b" in rendered("# a\x1b[31m\n\nb\x1b", Screen())


def test_rules_lists_every_rule_as_text_and_as_json(capsys):
    assert rules.main([], standalone_mode=False) == 0
    assert len(capsys.readouterr().out.splitlines()) == len(all_rules())
    assert rules.main(["--format", "json"], standalone_mode=False) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [rule["code"] for rule in listed] == [rule.code for rule in all_rules()]
    near = next(rule for rule in listed if rule["name"] == "near-duplicate")
    assert near["options"]["policy"]["default"] == "longest"
    assert near["options"]["policy"]["schema"] == {"enum": ["first", "longest", "best"], "type": "string"}
    assert near["options"]["threshold"]["schema"]["anyOf"][0] == {
        "exclusiveMinimum": 0.0,
        "maximum": 1.0,
        "type": "number",
    }
    for rule in listed:
        for said in ("summary", "help", "source", "page", "fires", "silent"):
            assert rule[said], (rule["code"], said)
        assert all(option["schema"] and option["description"] for option in rule["options"].values()), rule["code"]
    assert "$ref" not in json.dumps([rule["options"] for rule in listed])


def test_an_example_is_given_as_the_lines_of_its_file():
    [broken] = describe(resolve("SCH101"))
    assert all(isinstance(line, str) for example in broken["fires"] for line in example["lines"])
    [conflict] = describe(resolve("CON301"))
    assert json.loads(conflict["fires"][0]["lines"][0])


def test_an_unknown_code_is_exit_2(capsys):
    assert assay.run(["audit", "--select", "XYZ999", "."]) == 2
    assert "XYZ999" in capsys.readouterr().err
