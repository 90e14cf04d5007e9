"""Faults planted in rows: that they are found, that nothing else is, and that what is not found is said."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from random import Random

import pytest
from click.testing import CliRunner

from evals.cli_selftest import selftest_data as command
from evals.selftest.data_gates import RESULT, plant_rows, read_rows, selftest_data, try_plant
from evals.selftest.data_rates import DataRates
from evals.selftest.plant import change_text, plants, text_of
from schemas.errors import ExitCode, UserError
from schemas.progress import SILENT
from schemas.verdict import Outcome

COUNT = 4
SYLLABLES = ("ba", "den", "fir", "go", "hul", "ka", "lem", "mo", "nar", "pi", "rus", "sa", "tov", "ve", "wil", "zo")


@pytest.fixture(scope="module")
def rows_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Conversations of sixty words and more, none like another."""
    drawn = Random(3)
    path = tmp_path_factory.mktemp("rows") / "rows.jsonl"
    lines = []
    for k in range(160):
        words = ["".join(drawn.choice(SYLLABLES) for _ in range(drawn.randint(2, 4))) for _ in range(60)]
        turns = [{"role": "user", "content": " ".join(words)}, {"role": "assistant", "content": f"number {k}"}]
        lines.append(json.dumps({"messages": turns}) + "\n")
    path.write_text("".join(lines), "utf-8")
    return path


@pytest.mark.parametrize("plant", plants(), ids=lambda plant: plant.name)
def test_what_is_planted_is_found_and_nothing_else(rows_file, plant):
    before = rows_file.read_bytes()
    rates = try_plant(plant, read_rows([rows_file], 0, {}, None), COUNT, 0)
    assert {edit.name: edit.found.trials for edit in rates.edits} == dict.fromkeys(plant.edits, COUNT)
    assert [edit.name for edit in rates.edits if edit.found.hits < COUNT] == []
    assert rates.false_alarms.hits == 0
    assert rates.precision.hits == rates.precision.trials == rates.found.hits
    assert rows_file.read_bytes() == before


def test_a_rule_that_finds_nothing_is_said_to_find_nothing(rows_file):
    (plant,) = plants(["secret"])
    blind = dataclasses.replace(plant, rules=("byte-order-mark",))
    rates = try_plant(blind, read_rows([rows_file], 0, {}, None), 30, 0)
    assert (rates.found.hits, rates.outcome) == (0, Outcome.FAIL)


def test_alarms_on_other_rows_are_counted(rows_file):
    """A rule that the planted row sets off everywhere."""
    (plant,) = plants(["exact_duplicate"])
    rows = read_rows([rows_file], 0, {}, None)
    noisy = dataclasses.replace(plant, rules=("exact-duplicate", "no-assistant-turn"), apart=(), place="instead")
    edits = {"copy": lambda record, drawn: {**rows.records[0], "messages": rows.records[0]["messages"]}}
    rates = try_plant(dataclasses.replace(noisy, edits=edits), rows, 2, 0)
    assert rates.found.hits + rates.false_alarms.hits == 2
    assert rates.precision.trials == 2


def test_the_same_seed_plants_the_same_bytes(rows_file):
    (plant,) = plants(["personal_data"])
    rows = read_rows([rows_file], 0, {}, None)
    first, again, other = (plant_rows(plant, rows, set(), COUNT, seed).lines for seed in (0, 0, 1))
    assert first == again != other


def test_few_rows_are_inconclusive(rows_file):
    (plant,) = plants(["exact_duplicate"])
    assert try_plant(plant, read_rows([rows_file], 0, {}, None), COUNT, 0).outcome is Outcome.INCONCLUSIVE


def test_rows_that_suit_nothing_give_no_trials(tmp_path):
    path = tmp_path / "short.jsonl"
    path.write_text('{"text": "a"}\n{"text": "b"}\n', "utf-8")
    (plant,) = plants(["near_duplicate"])
    rates = try_plant(plant, read_rows([path], 0, {}, None), COUNT, 0)
    assert (rates.found.trials, rates.outcome) == (0, Outcome.INCONCLUSIVE)


@pytest.mark.parametrize(
    ("record", "text"),
    [
        ({"messages": [{"role": "user", "content": "ask"}, {"role": "assistant", "content": "say more"}]}, "ask"),
        ({"conversations": [{"from": "human", "value": "ask"}, {"from": "gpt", "value": "say"}]}, "ask"),
        ({"prompt": "ask", "completion": "say"}, "ask"),
        (
            {"prompt": [{"role": "user", "content": "ask"}], "completion": [{"role": "assistant", "content": "s"}]},
            "ask",
        ),
        ({"text": "ask", "id": "x"}, "ask"),
        ({"colour": "red"}, ""),
        ([1, 2], ""),
        (None, ""),
    ],
)
def test_texts_are_found_in_every_shape(record, text):
    assert text_of(record) == text
    changed = change_text(record, str.upper)
    assert (changed is None) == (text == "")
    assert changed is None or text_of(changed) == "ASK"


def test_results_are_a_stage_and_are_reused(rows_file, tmp_path):
    made = selftest_data([rows_file], tmp_path, ["broken_row", "secret"], SILENT, count=COUNT)
    files = ["manifest.json", "selftest.html", RESULT, "selftest.md", "selftest.txt"]
    assert sorted(path.name for path in made.folder.iterdir()) == files
    rates = DataRates.model_validate_json((made.folder / RESULT).read_bytes())
    assert [kind.name for kind in rates.kinds] == ["broken_row", "secret"]
    assert made.manifest.counts == {"rows": 160, "planted": 9 * COUNT}
    assert selftest_data([rows_file], tmp_path, ["broken_row", "secret"], SILENT, count=COUNT).reused


def test_without_rows_there_is_nothing_to_plant_in(tmp_path):
    path = tmp_path / "none.jsonl"
    path.write_text("{\n", "utf-8")
    with pytest.raises(UserError, match="no row can be read"):
        selftest_data([path], tmp_path / "runs", [], SILENT)
    assert not list((tmp_path / "runs").rglob("*.json"))


def test_the_command_prints_and_exits_by_the_outcome(rows_file, tmp_path):
    arguments = ["--data", str(rows_file), "--out", str(tmp_path / "runs"), "--cases", "hidden_unicode", "--quick"]
    result = CliRunner().invoke(command, [*arguments, "--format", "json", "--quiet"], standalone_mode=False)
    printed = json.loads(result.stdout)
    outcome = Outcome(printed["outcome"])
    assert result.return_value == {Outcome.PASS: 0, Outcome.FAIL: 1, Outcome.INCONCLUSIVE: 4}[outcome]
    assert printed["kinds"][0]["found"]["hits"] == printed["kinds"][0]["found"]["trials"] > 0


def test_the_command_needs_rows_and_names_that_exist(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("evals.cli_selftest.EXAMPLE", tmp_path / "nowhere")
    failed = CliRunner().invoke(command, [])
    assert isinstance(failed.exception, UserError)
    assert "assay selftest data --data FILE" in failed.exception.problems[0].help
    (tmp_path / "rows.jsonl").write_text('{"text": "a"}\n', "utf-8")
    failed = CliRunner().invoke(command, ["--data", "rows.jsonl", "--cases", "ghosts"])
    assert isinstance(failed.exception, UserError)
    assert failed.exception.exit_code == ExitCode.USAGE
    assert "ghosts" in failed.exception.problems[0].found


def test_a_conflict_is_planted_in_the_last_answer_and_only_where_something_was_asked():
    (plant,) = plants(["conflict"])
    talk = [("user", "2+2?"), ("assistant", "4, as everybody knows who has ever counted"), ("user", "2+3?")]
    turns = [{"role": role, "content": said} for role, said in (*talk, ("assistant", "5"))]
    planted = plant.edits["other_answer"]({"messages": [dict(turn) for turn in turns]}, Random(0))
    assert planted["messages"][:3] == turns[:3]
    assert planted["messages"][3]["content"] != "5"
    assert plant.edits["other_answer"]({"messages": [dict(turns[1])]}, Random(0)) is None
