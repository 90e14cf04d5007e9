"""A model verdict in each format, with names and messages that try to break out of it."""

import json
from collections import Counter
from pathlib import Path
from xml.etree import ElementTree

import pytest

from curate.outputs.verdict import FORMATS
from evals.gate import summary
from schemas.verdict import Check, Outcome, Standing, Verdict, combine, overall

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
    assert lines[0] == "gate model: fail"
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


# ------------------------------------------------------------------------------------------- where a candidate stands

GOLDEN = Path(__file__).with_name("golden")


def compared(name, outcome, verdict, items=None):
    """A check that compares two models."""
    measured = {"estimate": -0.012} | ({"items_to_decide": items} if items else {})
    said = "tuned scores 0.700, base 0.712 on 400 items: difference -0.012, 95% interval -0.040 to +0.015"
    return Check(name=name, outcome=outcome, verdict=verdict, message=said, measured=measured, help="raise evals.limit")


def verdict_on(*checks):
    outcome = combine(check.outcome for check in checks)
    return Verdict(
        gate="model",
        outcome=outcome,
        verdict=overall(checks),
        subject={"results": "0" * 64},
        checks=checks,
        summary=summary(outcome, checks),
    )


def mixed_verdict():
    none = Outcome.NOT_APPLICABLE
    return verdict_on(
        compared("spam_test:improve", Outcome.PASS, Standing.IMPROVED),
        Check(name="spam_test:beats-majority", outcome=Outcome.PASS, message="it beats the most frequent label"),
        compared("general:not-regress-locked", Outcome.INCONCLUSIVE, Standing.INCONCLUSIVE, 1240),
        compared("general:not-regress-original", Outcome.INCONCLUSIVE, Standing.INCONCLUSIVE, 2480),
        compared("small:not-regress", Outcome.INCONCLUSIVE, Standing.INCONCLUSIVE),
        compared("spam_test:slice:lang=de", none, Standing.NON_INFERIOR),
        compared("spam_test:slice-locked:kind=a:b", none, Standing.REGRESSED),
        compared("spam_test:slice:kind=c", none, Standing.INCONCLUSIVE, 90),
        Check(name="overfitting:gain-gap", outcome=Outcome.PASS, message="the gap is small"),
    )


@pytest.mark.parametrize("form", ["text", "markdown", "junit", "github"])
def test_each_format_says_where_the_candidate_stands(form):
    assert FORMATS[form](mixed_verdict()) == (GOLDEN / f"verdict.{form}").read_text("utf-8")


def test_the_terminal_shows_the_standings_first_and_fits_80_columns():
    lines = FORMATS["text"](mixed_verdict()).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "gate model: inconclusive"
    assert lines[2].split(maxsplit=1) == ["general", "inconclusive, about 2,480 items would decide"]
    assert lines[4:6] == ["  by slice, which decides nothing:", "  spam_test, kind=a:b, against locked  regressed"]
    long = FORMATS["text"](verdict_on(compared(f"{'t' * 90}:improve", Outcome.PASS, Standing.IMPROVED)))
    assert long.splitlines()[1:3] == [f"  {'t' * 90}", "    improved"]


def test_a_standing_that_says_more_than_the_outcome_is_named_with_it():
    passing = verdict_on(compared("t:not-regress", Outcome.PASS, Standing.NON_INFERIOR))
    assert FORMATS["text"](passing).startswith("gate model: pass (non-inferior)\n  t  non-inferior\n")
    assert "# Gate model: pass (non-inferior)\n" in FORMATS["markdown"](passing)
    assert "::notice title=gate model%3A pass (non-inferior)::" in FORMATS["github"](passing)
    suites = ElementTree.fromstring(FORMATS["junit"](passing))
    found = {one.get("name"): one.get("value") for one in suites.findall("testsuite/properties/property")}
    assert found == {"verdict": "non_inferior", "verdict: t": "non_inferior"}


def test_a_condition_that_fails_blocks_and_is_named_beside_the_tasks():
    gap = Check(name="overfitting:gain-gap", outcome=Outcome.FAIL, message="it learned its rows")
    lines = FORMATS["text"](verdict_on(compared("t:improve", Outcome.PASS, Standing.IMPROVED), gap)).splitlines()
    assert lines[:3] == ["gate model: fail (blocked)", "  t            improved", "  overfitting  blocked"]


def test_a_comment_stays_small_whatever_the_number_of_tasks_and_slices():
    names = [f"{'x' * 90}{n}:improve" for n in range(300)] + [f"t:slice:{'y' * 90}={n}" for n in range(300)]
    checks = [compared(name, Outcome.INCONCLUSIVE, Standing.INCONCLUSIVE, 12_345) for name in names]
    many = verdict_on(*checks).model_copy(update={"summary": "s"})
    assert len(FORMATS["markdown"](many)) < 65_536
