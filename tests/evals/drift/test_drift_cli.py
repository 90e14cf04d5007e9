"""`assay drift` as a command: what it answers, in which forms, and what it refuses."""

import json
import re

import click
import pytest

from evals.drift import run as stage
from schemas.drift import Drift
from schemas.errors import ExitCode, ManifestError, UserError
from tests.evals.drift.made_drift import GARDEN, SHIP, TRAIN, drifted, made_dataset, notes, run_drift, write_rows
from tests.evals.made_chain import make_chain


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A dataset of 3,000 notes."""
    return made_dataset(tmp_path_factory.mktemp("drift"), notes(3000, 1))


@pytest.fixture
def deliver(tmp_path, made, monkeypatch):
    """Writes a delivery and gives the arguments that compare it with the dataset."""
    monkeypatch.chdir(tmp_path)

    def delivery(rows, *more):
        return [write_rows(tmp_path / "new.jsonl", rows), "--run", made.folder, *more]

    return delivery


def test_more_of_the_same_is_fine(deliver, made):
    code, found = drifted(*deliver(notes(1000, 2)))
    assert code is ExitCode.PASS
    assert found.headline.startswith("Fine")
    assert {one.name: one.word for one in found.measurements} == dict.fromkeys(
        ("classifier", "labels", "length", "new_labels", "new_topic", "topics", "vocabulary"), "fine"
    )
    assert all(one.effect is not None and one.effect.high < one.effect.bound for one in found.measurements)
    assert found.rows.read == 1000
    assert found.dataset == "notes"
    assert found.score.word == "not_applicable"


def test_a_new_topic_asks_for_training_and_names_its_rows(deliver, made, tmp_path):
    ships = notes(45, 3, topics=(SHIP,))
    code, found = drifted(*deliver([*ships, *notes(255, 4)]))
    assert code is ExitCode.FAIL
    by_name = {one.name: one for one in found.measurements}
    assert by_name["new_topic"].word == "drifted"
    assert set(by_name["new_topic"].facts["words"]) & set(SHIP)
    lines = [int(row.place.rsplit(":", 1)[1]) for row in found.matter_most[:45]]
    assert sum(line <= 45 for line in lines) >= 40
    (folder,) = (
        path.parent for path in (made.folder.parents[1] / "drift").glob("*/rows.jsonl") if "anchor" in path.read_text()
    )
    records = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    assert len(records) == 200
    assert records[0]["messages"] == ships[lines[0] - 1]["messages"]


def test_a_new_label_is_found_and_its_rows_come_first(deliver):
    rows = notes(300, 5)
    for row in rows[:30]:
        row["messages"][1]["content"] = "weather"
    code, found = drifted(*deliver(rows))
    assert code is ExitCode.FAIL
    by_name = {one.name: one for one in found.measurements}
    assert by_name["new_labels"].word == "drifted"
    assert "'weather'" in by_name["new_labels"].message
    assert all(row.new_label for row in found.matter_most[:30])


def test_labels_that_shift_are_found(deliver):
    code, found = drifted(*deliver(notes(300, 6, topics=(GARDEN, GARDEN, GARDEN, TRAIN))))
    assert code is ExitCode.FAIL
    assert {one.name: one.word for one in found.measurements}["labels"] == "drifted"


def test_few_rows_are_inconclusive_and_say_how_many_would_do(deliver):
    code, found = drifted(*deliver(notes(30, 7)))
    assert code is ExitCode.INCONCLUSIVE
    assert any(one.rows_to_decide and one.rows_to_decide > 30 for one in found.measurements)
    assert any("would decide" in sentence for sentence in found.sentences)
    code, found = drifted(*deliver(notes(5, 8)))
    assert code is ExitCode.INCONCLUSIVE
    assert "5 distinct new rows are too few to compare" in found.measurements[0].message


def test_rows_without_answers_say_nothing_of_labels(deliver):
    rows = [{"messages": row["messages"][:1]} for row in notes(1000, 9)]
    code, found = drifted(*deliver(rows))
    assert code is ExitCode.PASS
    by_name = {one.name: one for one in found.measurements}
    assert by_name["labels"].message == "the new rows have no answers"
    assert by_name["labels"].word == "not_applicable"


def test_the_rows_of_another_schema_are_named(deliver):
    rows = [*notes(1000, 10), {"question": "Which?", "reply": "this"}]
    code, found = drifted(*deliver(rows))
    assert code is ExitCode.PASS
    assert found.rows.unreadable == 1
    assert found.rows.unreadable_at[0].endswith("new.jsonl:1001")


def test_prompt_completion_rows_are_compared_with_chat_rows(deliver):
    rows = [
        {"prompt": row["messages"][0]["content"], "completion": row["messages"][1]["content"]}
        for row in notes(1000, 11)
    ]
    assert drifted(*deliver(rows))[0] is ExitCode.PASS


def test_a_dataset_with_one_label_says_nothing_of_shares(tmp_path):
    dataset = made_dataset(tmp_path / "one", notes(3000, 1, topics=(GARDEN,)))
    new = write_rows(tmp_path / "new.jsonl", notes(1000, 2, topics=(GARDEN,)))
    code, found = drifted(new, "--run", dataset.folder)
    assert code is ExitCode.PASS
    by_name = {one.name: one for one in found.measurements}
    assert by_name["labels"].message == "the dataset has one label only"
    assert by_name["new_labels"].word == "fine"


def test_new_rows_that_are_all_known_are_inconclusive(deliver):
    code, found = drifted(*deliver(notes(40, 1)))
    assert code is ExitCode.INCONCLUSIVE
    assert found.rows.like_known == 40
    assert found.rows.known + found.rows.copies + found.rows.compared == 40


# ------------------------------------------------------------------------------------------------------------- output


def test_every_form_is_written_and_reused(deliver, tmp_path):
    arguments = deliver(notes(60, 12))
    code, out, err = run_drift(
        *arguments, "--also", f"html:{tmp_path / 'd.html'}", "--also", f"markdown:{tmp_path / 'd.md'}"
    )
    assert code is ExitCode.INCONCLUSIVE
    assert out.startswith("Inconclusive")
    assert max(map(len, out.split("\n\n")[0].splitlines())) <= 100
    assert re.search(r"^rows: .*rows\.jsonl$", err, re.M)
    assert err.strip().endswith("manifest.json")
    page = (tmp_path / "d.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "<script" not in page
    assert (tmp_path / "d.md").read_text().startswith("<!-- assay drift -->\n# Inconclusive")
    again = run_drift(*arguments)
    assert again[1] == out
    assert "this was compared before" in again[2]
    moved = arguments[0].rename(tmp_path / "moved.jsonl")
    _, found = drifted(moved, *arguments[1:])
    assert found.matter_most[0].place.startswith(f"{moved}:")
    moved.rename(arguments[0])
    _, raw, err = run_drift(*arguments, "--format", "json", "--quiet")
    assert err == ""
    assert Drift.model_validate_json(raw).schema_ == "assay/drift/1"


def test_hostile_text_stays_text(deliver):
    rows = notes(60, 13)
    evil = "<script>alert(1)</script> \x1b[31mred\x1b[0m \u202e | `code` \x00 "
    for row in rows:
        row["messages"][0]["content"] = evil + row["messages"][0]["content"]
        row["messages"][1]["content"] = "<b>\x1b[2Jlabel"
    arguments = deliver(rows)
    for form in ("text", "json", "markdown", "html"):
        _, out, _ = run_drift(*arguments, "--quiet", "--format", form)
        assert "\x1b" not in out
        assert "\u202e" not in out
        assert "\x00" not in out
        if form in ("markdown", "html"):
            assert "<script>" not in out.replace("\\<", "")
            assert "<b>" not in out.replace("\\<", "")


def test_bounds_and_level_come_from_the_config(deliver, made):
    config = made.folder.parents[2] / "assay.yaml"
    arguments = deliver(notes(60, 14), "-c", config)
    loose = [
        f"--set=drift.bounds.{name}=0.9"
        for name in ("classifier", "new_topic", "topics", "length", "labels", "new_labels", "vocabulary")
    ]
    code, found = drifted(*arguments, *loose, "--set=drift.alpha=0.2")
    assert code is ExitCode.PASS
    assert found.alpha == 0.2
    with pytest.raises(UserError, match="not_a_bound"):
        run_drift(*arguments, "--set=drift.bounds.not_a_bound=1")


# -------------------------------------------------------------------------------------------------- what is refused


def test_a_run_that_is_not_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    new = write_rows(tmp_path / "new.jsonl", notes(20, 1))
    with pytest.raises(ManifestError, match="cannot be opened"):
        run_drift(new, "--run", tmp_path / "nowhere")
    with pytest.raises(click.MissingParameter):
        run_drift(new)


def test_a_run_without_a_dataset(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    chain = make_chain(tmp_path / "chain")
    new = write_rows(tmp_path / "new.jsonl", notes(20, 1))
    with pytest.raises(UserError, match="no dataset behind this run") as raised:
        run_drift(new, "--run", chain.base_model.folder)
    assert "base-model" in raised.value.problems[0].found


def test_files_that_are_not_there_or_empty(deliver, made, tmp_path):
    with pytest.raises(UserError):
        run_drift(tmp_path / "gone.jsonl", "--run", made.folder)
    with pytest.raises(UserError, match="there is no new row") as raised:
        run_drift(*deliver([]))
    assert raised.value.exit_code is ExitCode.INCONCLUSIVE
    assert not list((made.folder.parents[1] / "drift").glob("*.partial"))


def test_a_dataset_that_was_changed(tmp_path):
    dataset = made_dataset(tmp_path / "changed", notes(60, 1))
    with (dataset.folder / "data" / "train.jsonl").open("ab") as out:
        out.write(b"{}\n")
    new = write_rows(tmp_path / "new.jsonl", notes(20, 2))
    with pytest.raises(ManifestError, match="do not match"):
        run_drift(new, "--run", dataset.folder, "--out", tmp_path / "out")


def test_options_that_need_a_config(deliver):
    with pytest.raises(UserError, match="--set changes a config"):
        run_drift(*deliver(notes(20, 1)), "--set=drift.alpha=0.1")
    with pytest.raises(UserError, match="config cannot be opened"):
        run_drift(*deliver(notes(20, 1)), "--score")


def test_an_embedding_model_that_is_not_there(deliver, made):
    config = made.folder.parents[2] / "assay.yaml"
    with pytest.raises(UserError, match="no embedding model"):
        run_drift(*deliver(notes(20, 1)), "-c", config, "--set=drift.embedding=nowhere")


def test_an_interrupt_leaves_nothing_half_written(deliver, made, monkeypatch):
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(stage, "measured", interrupt)
    arguments = deliver(notes(40, 15))
    with pytest.raises((KeyboardInterrupt, click.Abort)):
        run_drift(*arguments)
    folder = made.folder.parents[1] / "drift"
    assert not [path for path in folder.glob("*") if not (path / "manifest.json").is_file()]
