"""Which row of a group stays, and what a search for near-duplicates leaves in the report."""

import json

import pytest

import assay
from curate.pipeline import curate, run_pipeline
from curate.rules import select_rules
from curate.rules.near_duplicate import EDITED, STORY
from curate.summary import account
from schemas.errors import ConfigError, UserError
from tests.curate.made_rows import chat, corpus_from, distinct_rows, make_project, read_json, twins

BEST = {"policy": "best", "best_by": "score"}


def scored(*scores: object) -> list[dict[str, object]]:
    texts = ["One two.", "One two.", "one  two."]
    return [{"text": text, "score": score} for text, score in zip(texts, scores, strict=True)]


def test_exact_and_normalised_copies_keep_the_first_unless_asked():
    corpus = corpus_from(*scored(1, 3, 2))
    assert (twins(corpus, "DUP201"), twins(corpus, "DUP202")) == ({1: 0}, {2: 0})
    assert (twins(corpus, "DUP201", **BEST), twins(corpus, "DUP202", **BEST)) == ({0: 1}, {2: 1})
    assert twins(corpus, "DUP202", policy="longest") == {0: 2}


@pytest.mark.parametrize(
    ("scores", "kept"),
    [
        ((1, 2, 3), 2),
        ((3, 2, 3), 0),
        ((None, None, -5), 2),
        (("9", 10, "8.5"), 1),
        (("n/a", "nan", 0), 2),
        ((0, 1, "inf"), 1),
    ],
    ids=["highest", "ties go to the first", "missing come last", "numbers as text", "no numbers", "infinite"],
)
def test_the_best_row_has_the_highest_number(scores, kept):
    rows = [
        {"text": text, "score": score} for text, score in zip([STORY, EDITED, STORY + " End."], scores, strict=True)
    ]
    assert set(twins(corpus_from(*rows), "DUP203", **BEST).values()) == {kept}


def test_a_field_that_no_row_has_is_an_error_with_the_nearest_name():
    with pytest.raises(UserError) as caught:
        twins(corpus_from(*scored(1, 2, 3)), "DUP203", policy="best", best_by="scores")
    assert caught.value.problems[0].help == "did you mean 'score'?"
    with pytest.raises(UserError) as caught:
        twins(corpus_from(*scored("high", "low", True)), "DUP201", **BEST)
    assert caught.value.problems[0].what == "no row has a number in the metadata field 'score'"


@pytest.mark.parametrize("options", [{"policy": "best"}, {"best_by": "score"}, {"policy": "random"}])
@pytest.mark.parametrize("rule", ["exact-duplicate", "near-duplicate", "prompt-duplicate", "answer-duplicate"])
def test_a_policy_without_its_field_is_refused_before_anything_is_read(rule, options):
    with pytest.raises(ConfigError):
        select_rules([rule], {rule: options})


def test_a_policy_of_the_family_reaches_every_rule_that_keeps_one_row():
    having = {rule.name for rule in select_rules([], {"duplicate": BEST}) if getattr(rule, "policy", "") == "best"}
    assert having == {
        "exact-duplicate",
        "normalised-duplicate",
        "near-duplicate",
        "prompt-duplicate",
        "answer-duplicate",
    }


# ---------------------------------------------------------------------------------------------------------- searches

ROWS = [*distinct_rows(40), chat(STORY, "fiction"), chat(EDITED, "fiction"), b"{"]


def test_the_report_holds_the_search_and_its_curves(tmp_path):
    folder = curate(make_project(tmp_path, ROWS, curate={"steps": ["near-duplicate"]})).folder
    (search,) = read_json(folder / "report.json")["searches"]
    assert (search["code"], search["rows"], search["setting"], search["threshold"]) == ("DUP203", 43, "default", 0.7)
    assert (search["measure"], search["floor"]) == ("alignment", pytest.approx(0.6))
    (part,) = search["parts"]
    assert (part["num_perm"], part["bands"], part["rows_per_band"], part["rows"]) == (160, 32, 5, 42)
    assert part["s_curve"][10] == [0.5, pytest.approx(0.637945)]
    curve = dict(map(tuple, search["kept_by_threshold"]))
    assert curve[0.7] == 43 - read_json(folder / "ledger.json")["by_rule"]["DUP203"] == 42
    assert curve[1.0] == 43, "rows without a text to compare stay whatever the threshold is"


def test_the_fast_setting_has_a_threshold_of_its_own(tmp_path):
    rules = {"near-duplicate": {"setting": "fast"}}
    project = make_project(tmp_path, ROWS, curate={"steps": ["near-duplicate"], "rules": rules})
    (search,) = run_pipeline(project).ledger.searches
    assert (search["setting"], search["threshold"], search["measure"]) == ("fast", 0.8, "jaccard-5")
    assert search["kept_by_threshold"][-1] == [1.0, 43]


def test_parts_that_are_searched_by_themselves_add_up(tmp_path):
    kind = {"role": "system", "content": "Be kind."}
    told = [{"messages": [kind, *row["messages"]]} for row in distinct_rows(30)]
    project = make_project(tmp_path, [*ROWS, *told, told[0]], curate={"steps": ["near-duplicate"]})
    (search,) = run_pipeline(project).ledger.searches
    assert sorted(part["rows"] for part in search["parts"]) == [31, 42]
    assert dict(map(tuple, search["kept_by_threshold"]))[0.7] == 74 - 2


def test_the_summary_shows_the_curve_only_where_there_was_a_search(tmp_path, capsys):
    make_project(tmp_path, ROWS, curate={"steps": ["near-duplicate"], "rules": {"near-duplicate": {"threshold": 0.72}}})
    assert assay.run(["curate", str(tmp_path / "assay.yaml")]) == 0
    err = capsys.readouterr().err
    assert "DUP203 near-duplicate would keep, of 43 rows, at a threshold of\n" in err
    assert "    0.72  42  (used)\n" in err
    assert assay.run(["curate", str(tmp_path / "assay.yaml"), "--dry-run"]) == 0
    assert "    0.72  42  (used)\n" in capsys.readouterr().out
    make_project(tmp_path, ROWS, curate={"steps": ["exact-duplicate"]})
    assert assay.run(["curate", str(tmp_path / "assay.yaml"), "--dry-run", "--format", "json"]) == 0
    assert "would keep" not in account(json.loads(capsys.readouterr().out))
