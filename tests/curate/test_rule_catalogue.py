import re

import pytest

from curate.rules import all_rules, resolve, select_rules
from curate.rules.base import FAMILIES, Action, Example, Rule
from schemas.errors import ConfigError, UserError
from schemas.finding import Severity
from tests.curate.made_rows import all_hits, corpus_of

RULES = all_rules()
HEADINGS = ("## What it does", "## Why", "## Known problems", "## Source")


def examples(kind: str) -> list[tuple[type[Rule], Example]]:
    return [(rule, example) for rule in RULES for example in getattr(rule, kind)]


def name_of(value: object) -> str:
    return value.code if isinstance(value, type) and issubclass(value, Rule) else ""


@pytest.mark.parametrize(("rule", "example"), examples("fires"), ids=name_of)
def test_the_rule_fires_on_its_example(rule, example):
    assert all_hits(rule(**example.options), corpus_of(example))


@pytest.mark.parametrize(("rule", "example"), examples("silent"), ids=name_of)
def test_the_rule_is_silent_on_its_example(rule, example):
    assert all_hits(rule(**example.options), corpus_of(example)) == []


@pytest.mark.parametrize("rule", RULES, ids=name_of)
def test_the_rule_is_whole(rule):
    assert re.fullmatch(r"[A-Z]{3}\d{3}", rule.code)
    assert rule.code[:3] in FAMILIES
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.name)
    assert rule.default_action in rule.actions
    assert rule.fires
    assert rule.silent
    page = rule.page()
    assert page.startswith(f"# {rule.code} {rule.name}\n")
    assert [heading for heading in HEADINGS if f"\n{heading}\n" not in page] == []
    assert page.splitlines()[2].endswith(".")
    assert rule.__module__ == f"curate.rules.{rule.name.replace('-', '_')}", "one rule a file, named after it"
    if Action.REDACT in rule.actions or Action.FIX in rule.actions:
        assert rule.rewrite is not Rule.rewrite


def test_the_rules_that_the_first_slice_promises_are_there():
    names = {rule.name for rule in RULES}
    assert {"exact-duplicate", "normalised-duplicate", "near-duplicate", "template-variant", "conflict"} <= names
    assert {rule.family() for rule in RULES} >= {"schema", "duplicate", "conflict", "contamination", "pii"}


def test_a_word_is_a_name_a_code_a_family_or_the_beginning_of_a_code():
    assert [rule.code for rule in resolve("exact-duplicate")] == ["DUP201"]
    assert [rule.code for rule in resolve("DUP201")] == ["DUP201"]
    assert {rule.code[:3] for rule in resolve("schema")} == {"SCH"}
    assert {rule.code for rule in resolve("SCH11")} == {f"SCH11{n}" for n in range(1, 7)}
    assert {rule.code for rule in resolve("dup")} == {rule.code for rule in resolve("duplicate")}


def test_an_unknown_word_names_the_nearest_one():
    with pytest.raises(UserError) as caught:
        resolve("near-duplicates2")
    assert "near-duplicate" in caught.value.problems[0].help


def test_rules_keep_the_order_of_the_words_and_come_once():
    chosen = select_rules(["pii", "exact-duplicate", "DUP201", "pii"], ignore=["DUP202"])
    assert [rule.code for rule in chosen][-1] == "DUP201"
    assert [rule.code for rule in chosen].count("DUP201") == 1
    assert chosen[0].code.startswith("PII")


def test_no_word_means_every_rule():
    assert len(select_rules([])) == len(RULES)
    assert len(select_rules([], ignore=["schema"])) == len(RULES) - len(resolve("schema"))


def test_options_reach_the_rule_and_those_of_a_family_all_its_rules():
    rules = select_rules(
        ["near-duplicate", "pii"], {"near-duplicate": {"threshold": 0.9}, "pii": {"action": "drop", "level": "warning"}}
    )
    near, mail = rules[0], rules[1]
    assert near.model_dump()["threshold"] == 0.9
    assert mail.effective_action is Action.DROP
    assert mail.effective_severity is Severity.WARNING


def test_every_bad_option_is_reported_at_once():
    with pytest.raises(ConfigError) as caught:
        select_rules(["near-duplicate"], {"near-duplicate": {"treshold": 0.9}, "conflict": {"nope": 1}})
    problems = caught.value.problems
    assert [problem.what for problem in problems] == [
        "unknown option `treshold` of rule `near-duplicate`",
        "unknown option `nope` of rule `conflict`",
    ]
    assert problems[0].help == "did you mean `threshold`?"


def test_a_value_out_of_range_and_an_action_that_makes_no_sense_are_refused():
    with pytest.raises(ConfigError) as caught:
        select_rules(["near-duplicate"], {"near-duplicate": {"threshold": 1.5}})
    assert "`threshold` of rule `near-duplicate`" in caught.value.problems[0].what
    with pytest.raises(ConfigError) as caught:
        select_rules(["exact-duplicate"], {"exact-duplicate": {"action": "redact"}})
    assert caught.value.problems[0].what == "rule `exact-duplicate` cannot redact"
