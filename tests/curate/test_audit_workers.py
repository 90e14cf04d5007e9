"""Rules run side by side: the same findings for any number of workers, and no finding lost to a rule that fails."""

from typing import ClassVar

import orjson
import pytest

import assay
from curate.audit import RuleFailedError, audit_corpus
from curate.readers import read_corpus
from curate.rules.catalogue import select_rules
from curate.rules.missing_content import MissingContent
from schemas.errors import UserError
from tests.curate.made_rows import chat, write_rows


class Broken(MissingContent):
    """A rule with a bug."""

    code: ClassVar[str] = "SCH999"
    name: ClassVar[str] = "broken"
    error: ClassVar[BaseException] = ZeroDivisionError("division by zero")

    def find(self, corpus):
        raise self.error


@pytest.mark.parametrize("workers", [1, 2, 8])
def test_what_is_found_does_not_depend_on_the_number_of_workers(workers, tmp_path):
    rows = [chat("Write to jane.miller@posteo.net", "no"), chat("same", "one"), chat("same", "two"), {"text": ""}]
    corpus = read_corpus([write_rows(tmp_path / "rows.jsonl", rows)])
    expected = [finding for rule in select_rules([]) for finding in audit_corpus(corpus, [rule]).findings]
    found = audit_corpus(corpus, select_rules([]), workers=workers).findings
    assert sorted(map(repr, found)) == sorted(map(repr, expected))
    assert [finding.row for finding in found] == sorted(finding.row or 0 for finding in found)


def test_a_rule_that_fails_is_named_and_costs_no_other_rule_its_findings(tmp_path):
    corpus = read_corpus([write_rows(tmp_path / "rows.jsonl", [{"messages": [{"role": "user", "content": None}]}])])
    found = audit_corpus(corpus, [Broken(), *select_rules(["last-turn-not-assistant", "missing-content"])[::-1]])
    assert found.counts == {"SCH108": 1}
    assert found.not_run == {"SCH999": "it failed: ZeroDivisionError"}
    with pytest.raises(RuleFailedError, match="rule SCH999 broken: ZeroDivisionError: division by zero"):
        found.raise_failure()


def test_a_rule_that_cannot_be_run_on_the_rows_says_so_unless_another_one_has_a_bug(tmp_path):
    class Unfit(Broken):
        error = UserError("a row is too long")

    corpus = read_corpus([write_rows(tmp_path / "rows.jsonl", [chat("a", "b")])])
    with pytest.raises(UserError, match="a row is too long"):
        audit_corpus(corpus, [Unfit()]).raise_failure()
    with pytest.raises(RuleFailedError):
        audit_corpus(corpus, [Unfit(), Broken()]).raise_failure()


def test_a_bug_in_a_rule_exits_3_after_the_report(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(MissingContent, "find", Broken.find)
    monkeypatch.setattr(MissingContent, "error", ZeroDivisionError(), raising=False)
    write_rows(tmp_path / "rows.jsonl", [{"text": ""}, chat("Write to jane.miller@posteo.net", "no")])
    assert assay.run(["audit", "rows.jsonl", "--format", "json", "-q"]) == 3
    shown = capsys.readouterr()
    assert "PII501" in orjson.loads(shown.out)["counts"]
    assert "this is a bug in assay" in shown.err
    assert "rule SCH108 missing-content" in shown.err
    assert "ZeroDivisionError" in next(tmp_path.glob("assay-bug-*.txt")).read_text()
