"""What the balance rules say of a whole file."""

import pytest

from curate.labels import labels_by_source
from curate.request import AuditRequest, run_audit
from curate.rules import select_rules
from schemas.errors import ConfigError
from tests.curate.made_rows import chat, corpus_from, distinct_rows, write_rows


def said(name, *rows, **options):
    (rule,) = select_rules([name], {name: options})
    return [(hit.message, hit.evidence) for hit in rule.find_in_files(corpus_from(*rows))]


def labelled(**counts):
    return [chat(f"mail {label} {n}", label) for label, count in counts.items() for n in range(count)]


def test_short_answers_are_labels_only_where_they_repeat():
    (labels,) = labels_by_source(corpus_from(*labelled(spam=20, ham=15), chat("x", " SPAM ")))
    assert labels.counts == (("spam", 21), ("ham", 15)), "case and blanks make no other label"
    assert labels_by_source(corpus_from(*(chat(f"q{n}", f"a{n}") for n in range(50)))) == []
    assert labels_by_source(corpus_from(*labelled(spam=40), chat("x", "a " * 40))) == []


def test_the_share_of_the_frequent_label_is_measured():
    ((message, evidence),) = said("label-imbalance", *labelled(spam=90, ham=10))
    assert message == "90 of 100 answers (0.90) are 'spam'"
    assert evidence == {"labels": {"spam": 90, "ham": 10}, "rows": 100, "share": 0.9}
    assert said("label-imbalance", *labelled(spam=89, ham=11)) == []
    assert said("label-imbalance", *labelled(spam=89, ham=11), max_share=0.8)


def test_rare_labels_are_named_and_counted():
    ((message, evidence),) = said("rare-label", *labelled(a=40, b=30, c=2, d=1))
    assert message == "labels with fewer than 5 rows: 'c' 2, 'd' 1"
    assert evidence == {"labels": {"c": 2, "d": 1}, "rare": 2}


def test_openings_are_compared_without_case_and_with_any_blanks():
    rows = [chat(f"q{n}", f"{opening} number {n}") for n, opening in enumerate(["Sure, I can", "sure,  i\ncan"] * 30)]
    ((message, evidence),) = said("opening-phrase", *rows)
    assert message == "60 of 60 answers (1.00) begin with 'sure, i can'"
    assert evidence["count"] == 60


def test_a_prompt_that_all_rows_share_is_counted_with_its_first_line():
    rows = [*distinct_rows(20), *(chat("Tell me a story", f"Story {n} begins.") for n in range(40))]
    ((_, evidence),) = said("repeated-prompt", *rows)
    assert evidence == {
        "count": 40, "rows": 60, "distinct_prompts": 21, "share": 0.6667, "first_line": 21, "first_row": 20
    }  # fmt: skip


def test_the_longest_hundredth_is_measured():
    rows = [*(chat("ab", "cd") for _ in range(198)), *(chat("a" * 1000, "b") for _ in range(2))]
    ((message, evidence),) = said("length-skew", *rows)
    assert message == "2 of 200 rows hold 0.72 of the text"
    assert evidence == {
        "rows": 2,
        "share": round(2002 / (2002 + 198 * 4), 4),
        "longest_lines": [199, 200, *range(1, 9)],
    }


def test_sources_are_read_from_the_first_field_that_names_one():
    rows = [chat(f"q{n}", f"a{n}", dataset="web") for n in range(57)] + [chat("q", "a", source="lab"), chat("p", "b")]
    ((message, evidence),) = said("source-imbalance", *rows)
    assert message == "57 of 58 rows (0.98) are from 'web'"
    assert evidence["sources"] == {"web": 57, "lab": 1}


def test_a_field_name_that_is_no_name_is_refused():
    with pytest.raises(ConfigError):
        select_rules(["source-imbalance"], {"source-imbalance": {"fields": ["a'] || $['b"]}})


def test_the_finding_of_a_file_keeps_its_fingerprint_when_its_numbers_change(tmp_path):
    prints = set()
    for spam in (90, 95):
        path = write_rows(tmp_path / "rows.jsonl", labelled(spam=spam, ham=5))
        (found,) = run_audit(AuditRequest([str(path)], select=["label-imbalance"])).findings
        prints.add(found.fingerprint)
        assert (found.row, found.line, found.row_id) == (None, None, None)
    assert len(prints) == 1
