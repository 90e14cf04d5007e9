"""Inputs that change while they are read, clocks that jump, and two commands at once."""

import pytest

from tests.faults.changes import WAYS, change_inputs
from tests.faults.phases import BY_NAME
from tests.faults.theatre import FULL
from tests.faults.together import jump_clock, run_twice

pytestmark = pytest.mark.xdist_group("faults")

INPUTS = ("rows.jsonl", "more.jsonl", "evals.jsonl")


@pytest.mark.parametrize(
    ("name", "inputs"), [("audit", INPUTS), ("contamination", INPUTS), ("index build, rows", INPUTS[:2])]
)
def test_an_input_that_changes_is_an_error_or_the_result_of_one_version(name, inputs, theatre):
    rounds = 3 * (len(WAYS) * len(inputs) + 1) if FULL else len(WAYS) - 1
    tally = change_inputs(theatre, BY_NAME[name], inputs, rounds)
    assert tally.sound, tally


@pytest.mark.parametrize("name", ["curate", "index add", *(["audit", "evals"] if FULL else [])])
def test_two_at_once(name, theatre):
    tally = run_twice(theatre, BY_NAME[name], 15 if FULL else 3)
    assert tally.sound, tally


@pytest.mark.parametrize("name", ["curate", "index add", *(["train, sft", "evals"] if FULL else [])])
def test_a_clock_that_jumps_changes_no_byte(name, theatre):
    tally = jump_clock(theatre, BY_NAME[name], 10 if FULL else 2)
    assert tally.sound, tally
