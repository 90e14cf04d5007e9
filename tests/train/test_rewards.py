"""Rewards that come with assay, and the options that they refuse."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import UserError
from schemas.train_config import RewardFunction
from train.rewards import load_rewards
from train.rewards.numeric import last_number


def reward(use: str, **options):
    return load_rewards([RewardFunction(use=use, options=options)], Path())[0]


SCHEMA = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer"}}}


@pytest.mark.parametrize(
    ("use", "options", "completion", "reference", "expected"),
    [
        ("exact_match", {}, " yes\n", "yes", 1.0),
        ("exact_match", {}, "Yes", "yes", 0.0),
        ("exact_match", {"ignore_case": True}, "Yes", "yes", 1.0),
        ("exact_match", {"partial": 0.5}, "yes, of course", "yes", 0.5),
        ("exact_match", {}, "yes", 3, None),
        ("regex", {"pattern": "^a+$"}, "aaa", None, 1.0),
        ("regex", {"pattern": "b"}, "aaa", None, 0.0),
        ("regex", {"pattern": "a", "whole": True}, "ab", None, 0.0),
        ("regex", {"pattern": r"answer: (\w+)", "group": 1}, "my answer: yes", "yes", 1.0),
        ("regex", {"pattern": r"answer: (\w+)", "group": 1}, "my answer: no", "yes", 0.0),
        ("numeric", {}, "so 3 + 4 = 1,007.50", "1007.5", 1.0),
        ("numeric", {}, "none at all", "7", 0.0),
        ("numeric", {}, "7", "none", None),
        ("numeric", {"tolerance": 0.01}, "100.5", "100", 1.0),
        ("numeric", {}, "100.5", "100", 0.0),
        ("json_schema", {"schema": SCHEMA}, '{"a": 1}', None, 1.0),
        ("json_schema", {"schema": SCHEMA}, '```json\n{"a": 1}\n```', None, 1.0),
        ("json_schema", {"schema": SCHEMA, "fenced": False}, '```json\n{"a": 1}\n```', None, 0.0),
        ("json_schema", {"schema": SCHEMA}, '{"a": "x"}', None, 0.3),
        ("json_schema", {"schema": SCHEMA}, "{", None, 0.0),
        ("json_schema", {}, "[" * 100_000, None, 0.0),
    ],
)
def test_what_a_reward_says(use, options, completion, reference, expected):
    assert reward(use, **options)(completion, {"reference": reference}) == expected


@pytest.mark.parametrize(
    ("use", "options"),
    [
        ("exact_match", {"case": True}),
        ("exact_match", {"ignore_case": "yes"}),
        ("regex", {}),
        ("regex", {"pattern": "("}),
        ("regex", {"pattern": "a", "group": 1}),
        ("json_schema", {"schema": {"type": "nonsense"}}),
        ("numeric", {"tolerance": "much"}),
    ],
)
def test_options_that_a_reward_does_not_have_are_refused(use, options):
    with pytest.raises(UserError) as caught:
        reward(use, **options)
    assert "train.rewards" in caught.value.problems[0].where


@given(value=st.integers(-(10**9), 10**9))
def test_a_number_is_read_as_it_is_written(value):
    assert last_number(f"it is {value}") == value
    assert last_number(f"it is {value:,}") == value


@pytest.mark.parametrize("returned", ["'high'", "float('nan')", "[1.0]", "1j"])
def test_what_is_no_number_is_refused(tmp_path, returned):
    (tmp_path / "mine.py").write_text(f"def judge(completion, reference, row):\n    return {returned}\n", "utf-8")
    (mine,) = load_rewards([RewardFunction(python="mine.py:judge")], tmp_path)
    with pytest.raises(UserError, match="gave no number"):
        mine("text", {})


@pytest.mark.parametrize("does", ["1 / 0", "sys.exit(0)", "10**400"])
def test_a_function_that_fails_is_named_and_ends_nothing_by_itself(tmp_path, does):
    (tmp_path / "mine.py").write_text(
        f"import sys\ndef judge(completion, reference, row):\n    return {does}\n", "utf-8"
    )
    (mine,) = load_rewards([RewardFunction(python="mine.py:judge")], tmp_path)
    with pytest.raises(UserError, match="a reward function failed"):
        mine("text", {})
    (tmp_path / "gone.py").write_text("import sys\nsys.exit(0)\n", "utf-8")
    with pytest.raises(UserError, match="cannot be used"):
        load_rewards([RewardFunction(python="gone.py:judge")], tmp_path)


def test_a_function_may_print_take_its_row_apart_and_give_a_number_of_numpy(tmp_path, capsys):
    text = (
        "import numpy\nprint('loaded')\n"
        "def judge(completion, reference, row):\n    print('called')\n    row.clear()\n    return numpy.float32(0.5)\n"
    )
    (tmp_path / "mine.py").write_text(text, "utf-8")
    (mine,) = load_rewards([RewardFunction(python="mine.py:judge")], tmp_path)
    row = {"reference": "x"}
    assert mine("text", row) == 0.5
    assert row == {"reference": "x"}
    assert capsys.readouterr() == ("", "loaded\ncalled\n")


def test_options_go_to_the_users_function(tmp_path):
    text = "def judge(completion, reference, row, scale):\n    return scale * len(completion) + row['extra']\n"
    (tmp_path / "mine.py").write_text(text, "utf-8")
    (mine,) = load_rewards([RewardFunction(python="mine.py:judge", options={"scale": 2})], tmp_path)
    assert mine("abc", {"reference": "r", "extra": 1}) == 7.0
    with pytest.raises(UserError, match="cannot be used") as caught:
        load_rewards([RewardFunction(python="mine.py:judge")], tmp_path)
    assert "scale" in caught.value.problems[0].found
