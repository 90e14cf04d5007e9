"""A model verdict in each format, with names and messages that try to break out of it."""

import json
from collections import Counter
from xml.etree import ElementTree

import pytest

from curate.outputs.verdict import FORMATS
from schemas.verdict import Check, Outcome, Verdict, combine

HOSTILE = "50% | `x` <b>&amp; \x1b[31mred\x00\ud800, a: b\r\n::error::boom"


def verdict(*outcomes):
    checks = tuple(
        Check(name=f"task:check{k}", outcome=outcome, message=f"found {HOSTILE}", help=f"do {HOSTILE}")
        for k, outcome in enumerate(outcomes)
    )
    return Verdict(
        gate="model", outcome=combine(outcomes), subject={"dataset": "0" * 64}, checks=checks, summary=f"so {HOSTILE}"
    )


EACH = (Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE, Outcome.STALE, Outcome.NOT_APPLICABLE)


@pytest.mark.parametrize("form", ["text", "markdown", "junit", "github"])
def test_no_control_character_gets_through(form):
    written = FORMATS[form](verdict(*EACH))
    assert not set(written) & {"\x1b", "\x00", "\r"}
    written.encode("utf-8")


def test_text_helps_where_something_is_wrong():
    lines = FORMATS["text"](verdict(Outcome.PASS, Outcome.FAIL)).splitlines()
    assert lines[0] == "gate model"
    assert sum(line.strip().startswith("help:") for line in lines) == 1
    assert lines[-1].startswith(("fail: ", "::error"))


def test_json_is_the_verdict():
    plain = Verdict(gate="data", outcome=Outcome.PASS, subject={}, checks=(), summary="ok")
    assert Verdict.model_validate(json.loads(FORMATS["json"](plain))) == plain


def test_junit_counts_what_it_holds():
    root = ElementTree.fromstring(FORMATS["junit"](verdict(*EACH)))
    counts = [root.attrib[name] for name in ("tests", "failures", "errors", "skipped")]
    assert counts == ["5", "1", "1", "2"]
    cases = root.findall(".//testcase")
    assert [case.get("classname") for case in cases] == ["gate.model.task"] * 5
    assert [next(iter(case)).tag for case in cases] == ["system-out", "failure", "skipped", "error", "skipped"]


def test_github_annotations_stay_one_line_each():
    lines = FORMATS["github"](verdict(*EACH)).splitlines()
    assert [line.split(" ")[0] for line in lines] == [
        "::notice",
        "::error",
        "::warning",
        "::warning",
        "::notice",
        "::error",
    ]
    assert all("50%25" in line for line in lines)


def test_github_gets_no_more_annotations_than_it_shows_and_the_verdict_is_among_them():
    lines = FORMATS["github"](verdict(*EACH, *[Outcome.FAIL] * 40, *[Outcome.PASS] * 40)).splitlines()
    levels = Counter(line.split(" ")[0] for line in lines)
    assert levels == {"::error": 10, "::notice": 10, "::warning": 2}
    assert "title=gate model::" in lines[-1]


def test_a_comment_is_found_again_and_fits_what_decides_coming_first():
    text = FORMATS["markdown"](verdict(*[Outcome.NOT_APPLICABLE] * 700, *[Outcome.PASS] * 300, Outcome.FAIL))
    assert text.startswith("<!-- assay gate model -->\n# Gate model: fail\n")
    assert 60_000 < len(text) < 65_536
    rows = [line for line in text.splitlines() if line.startswith("| `task:check")]
    assert "| fail |" in rows[-1]
    assert sum("| pass |" in row for row in rows) == 300
    assert f"| | | {1001 - len(rows):,} more checks have no room in a comment" in text


def test_markdown_cells_cannot_be_left():
    lines = FORMATS["markdown"](verdict(Outcome.FAIL)).splitlines()
    row = next(line for line in lines if line.startswith("| `task:check0`"))
    assert row.replace("\\|", "").count("|") == 4
    assert "<b>" not in row
