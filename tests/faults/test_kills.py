"""Killed at any moment, or asked to end: nothing half is taken for whole, and the next run ends with the same bytes.

`ASSAY_FAULTS=full` kills as often as `phases.PHASES` says; otherwise each phase is killed a few times.
"""

import pytest

from tests.faults.kills import interrupt, kill_often
from tests.faults.phases import BY_NAME, PHASES, Phase
from tests.faults.theatre import FULL

pytestmark = pytest.mark.xdist_group("faults")

FEW = 3
IN_SHORT = ("train, sft", "evals")
"""Of the phases that load a model, those that are always tried."""
COMMAND_LINES = ("audit", "curate")
"""In the short form, phases of which one true command-line process is killed as well: its start takes longest."""


def cases() -> list[object]:
    return [pytest.param(phase, id=phase.name, marks=[pytest.mark.slow] if slow(phase) else []) for phase in PHASES]


def slow(phase: Phase) -> bool:
    return phase.models and phase.name not in IN_SHORT


@pytest.mark.parametrize("phase", cases())
def test_a_command_that_was_killed_ends_as_one_that_was_not(phase, theatre):
    few = 2 * FEW if slow(phase) else FEW
    lines = phase.kills // 5 if FULL else int(phase.name in COMMAND_LINES)
    tally = kill_often(theatre, phase, phase.kills if FULL else few, command_lines=lines)
    assert tally.sound, tally


@pytest.mark.parametrize("name", ["audit", "curate, text on disk", "index add", "train, sft"])
def test_a_command_that_is_asked_to_end_says_so_and_leaves_nothing_half(name, theatre):
    tally = interrupt(theatre, BY_NAME[name], 20 if FULL else 2)
    assert tally.sound, tally
