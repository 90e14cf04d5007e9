"""Rows of a held-out split that the training split holds as well."""

import pytest

import assay
from curate.audit import audit_corpus
from curate.named_splits import split_of_path
from curate.readers import read_corpus
from curate.request import AuditRequest, run_audit
from curate.rules import select_rules
from curate.rules.near_duplicate import EDITED, STORY
from schemas.errors import UserError
from tests.curate.made_rows import chat, corpus_from, distinct_rows, write_rows

LEAKS = ["LEK410", "LEK411", "LEK412", "LEK413", "LEK414"]


@pytest.mark.parametrize(
    ("path", "split"),
    [
        ("train.jsonl", "train"),
        ("data/my-train_v2.jsonl.gz", "train"),
        ("data/train-00000-of-00002.parquet", "train"),
        ("Validation.JSON", "validation"),
        ("squad.dev.jsonl", None),
        ("dev.jsonl", "validation"),
        ("x_eval.jsonl", "test"),
        ("test2.csv", "test"),
        ("test/data-00000.arrow", "test"),
        ("test/rows.jsonl", "test"),
        ("pretrain.jsonl", None),
        ("latest.jsonl", None),
        ("contest/evaluate.jsonl", None),
        ("train_test.jsonl", None),
        ("test_runs/rows.jsonl", None),
        ("-", None),
        ("", None),
    ],
)
def test_the_split_of_a_file_is_a_whole_word_of_its_name_or_its_folder(path, split):
    assert split_of_path(path) == split


def files(folder, **splits):
    for name, rows in splits.items():
        write_rows(folder / f"{name}.jsonl", rows)
    return read_corpus(sorted(folder.glob("*.jsonl")))


def found(corpus, codes=LEAKS, **options):
    audit = audit_corpus(corpus, select_rules(codes, options))
    audit.raise_failure()
    return [(f.code, name_of(f.path), f.line, place_of(f.evidence["twin"])) for f in audit.findings]


def name_of(path):
    return path.rpartition("/")[2]


def place_of(twin):
    return name_of(twin["path"]), twin["line"]


def test_each_leaked_row_is_one_finding_at_the_held_out_row_with_its_training_row(tmp_path):
    question = "Who keeps the lighthouse on the northern island, and what does he do all day?"
    train = [*distinct_rows(25), chat("Tell me a story.", STORY), chat(question, "A man who climbs stairs.")]
    test = [
        *distinct_rows(5, start=100),
        distinct_rows(1)[0],
        chat("Tell me a story.", EDITED),
        chat(question.upper(), "Nobody at all; the lamp has been electric for a long time, and it needs no keeper."),
    ]
    validation = [*distinct_rows(5, start=200), *distinct_rows(1, start=100)]
    assert found(files(tmp_path, train=train, test=test, validation=validation)) == [
        ("LEK410", "test.jsonl", 6, ("train.jsonl", 1)),
        ("LEK411", "test.jsonl", 7, ("train.jsonl", 26)),
        ("LEK412", "test.jsonl", 8, ("train.jsonl", 27)),
    ]


def test_copies_of_near_duplicates_are_each_reported(tmp_path):
    corpus = files(
        tmp_path, test=[chat("a", EDITED), chat("a", EDITED), chat("A", EDITED)], train=[chat("a", STORY)] * 2
    )
    assert [hit[:3] for hit in found(corpus)] == [("LEK411", "test.jsonl", n) for n in (1, 2, 3)]


SHORT = " ".join(STORY.split()[:40])


@pytest.mark.parametrize(
    ("asked", "said", "code"),
    [
        (SHORT, "It is about a lighthouse.", "LEK410"),
        (SHORT.replace("keeper", "keeepr"), "It is about a lighthouse.", "LEK411"),
        (
            SHORT.replace("keeper", "kepeer").replace("climbed them", "cilmbed them"),
            "It is about a lighthouse.",
            "LEK411",
        ),
        (SHORT.replace("spiral", "marble"), "It is about a lighthouse.", "LEK414"),
        (SHORT.replace("every morning he", "he really always"), "It is about a lighthouse.", "LEK414"),
        (SHORT, "It is about a keeper.", "LEK412"),
        (STORY, "It is about a lighthouse.", None),
    ],
)
def test_a_leak_is_reported_by_one_rule_whatever_was_changed(asked, said, code, tmp_path):
    train = [*distinct_rows(25), chat(SHORT, "It is about a lighthouse.")]
    corpus = files(tmp_path, train=train, test=[*distinct_rows(5, start=100), chat(asked, said)])
    assert [hit[0] for hit in found(corpus)] == ([code] if code else [])


def test_variants_of_training_rows_are_each_reported_with_the_most_similar_one(tmp_path):
    train = [chat(f"{STORY} {STORY[:80]}", "a"), chat(f"{STORY} He counted 17 steps.", "b")]
    test = [chat(f"{STORY} He counted {number} steps.", "b") for number in (93, 93, 94)]
    hits = found(files(tmp_path, train=train, test=test))
    assert hits == [("LEK414", "test.jsonl", line, ("train.jsonl", 2)) for line in (1, 2, 3)]


def test_a_field_of_the_row_wins_over_the_name_of_its_file(tmp_path):
    rows = [chat("a", "b", split="train"), chat("a", "b", split="Test "), chat("a", "b", split="unknown")]
    assert found(files(tmp_path, train=rows)) == [("LEK410", "train.jsonl", 2, ("train.jsonl", 1))]


@pytest.mark.parametrize(
    "splits",
    [
        {"train": distinct_rows(3)},
        {"test": distinct_rows(3)},
        {"test": distinct_rows(3), "validation": distinct_rows(3)},
        {"one": distinct_rows(3), "two": distinct_rows(3)},
        {"train": [b"{"], "test": [b"{"]},
    ],
)
def test_without_both_sides_nothing_is_run_and_that_is_said(splits, tmp_path):
    audit = audit_corpus(files(tmp_path, **splits), select_rules(LEAKS))
    assert audit.findings == ()
    assert set(audit.not_run) == set(LEAKS)


def test_clean_splits_are_clean(tmp_path):
    assert found(files(tmp_path, train=distinct_rows(30), test=distinct_rows(10, start=50))) == []


def test_rows_with_other_tools_or_another_label_are_no_copies():
    rows = [
        {"prompt": "2+2?", "completion": "4", "label": True, "split": "train"},
        {"prompt": "2+2?", "completion": "4", "label": False, "split": "test"},
    ]
    assert found(corpus_from(*rows), ["LEK410"]) == []


def test_groups_straddle_splits_only_where_a_field_is_named(tmp_path):
    train = [chat("first page", "a", book="x"), chat("second page", "b", book="y")]
    corpus = files(tmp_path, train=train, test=[chat("third page", "c", book="y"), chat("fourth page", "d", book=3)])
    assert found(corpus, ["LEK413"]) == []
    assert found(corpus, ["LEK413"], **{"split-group": {"group_by": "book"}}) == [
        ("LEK413", "test.jsonl", 1, ("train.jsonl", 2))
    ]
    with pytest.raises(UserError, match="no row has the metadata field 'buch'"):
        found(corpus, ["LEK413"], **{"split-group": {"group_by": "buch"}})


def test_from_the_command_line_a_leak_is_an_error(tmp_path, capsys):
    write_rows(tmp_path / "train.jsonl", distinct_rows(20))
    write_rows(tmp_path / "test.jsonl", distinct_rows(12, start=19))
    assert assay.run(["audit", str(tmp_path), "--select", "contamination"]) == 1
    out = capsys.readouterr().out
    assert "LEK410 split-copy  error, 1 row" in out
    assert "test.jsonl:1" in out
    assert "train.jsonl:20" in out


def test_fingerprints_do_not_depend_on_the_order_of_rows(tmp_path):
    both = []
    for name, rows in (("one", distinct_rows(6)), ("other", distinct_rows(6)[::-1])):
        (tmp_path / name).mkdir()
        write_rows(tmp_path / name / "train.jsonl", rows)
        write_rows(tmp_path / name / "test.jsonl", rows[:3][::-1] if name == "one" else rows[3:])
        found = run_audit(AuditRequest([str(tmp_path / name)], select=["LEK410"])).findings
        both.append(sorted(finding.fingerprint for finding in found))
    assert both[0] == both[1]
    assert len(both[0]) == 3
