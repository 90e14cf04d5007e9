from itertools import permutations

import pytest
from pydantic import ValidationError

from schemas.config import Config, SplitConfig, TaskGate
from schemas.errors import (
    AssayError,
    ConfigError,
    ConservationError,
    ExitCode,
    ManifestError,
    MissingExtra,
    Problem,
    UserError,
)
from schemas.finding import Severity, finding_fingerprint
from schemas.records import ROLES, ROW_MODELS
from schemas.terminal import printable
from schemas.verdict import EXIT_CODES, Outcome, combine

GATES = {"model": {"tasks": {"spam_test": {"must": "improve", "detect": 0.15}}}}
LEAST = {"name": "made", "data": {"sources": ["raw.jsonl"]}, "gates": GATES, "evals": {"suites": ["spam_test"]}}


def test_the_least_config_takes_every_default():
    config = Config.model_validate(LEAST)
    assert config.curate.split == SplitConfig(train=0.8, validation=0.1, test=0.1)
    assert config.gates.data.min_rows == 200
    assert config.gates.model.tasks["spam_test"].beat == ("majority",)
    assert config.train.base_model == "smollm2-135m-instruct"
    assert config.runs == "runs"


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../up"},
        {"name": ""},
        {"nmae": "made"},
        {"data": {"sources": []}},
        {"data": {"sources": ["a"], "surces": ["b"]}},
        {"evals": {"suites": ["other"]}},
        {"curate": {"split": {"train": 0.8, "validation": 0.1, "test": 0.2}}},
        {"curate": {"split": {"train": 1.2, "validation": -0.1, "test": -0.1}}},
        {"train": {"learning_rate": 0}},
        {"train": {"lora": {"r": 0}}},
        {"gates": {"model": {"tasks": {}}}},
    ],
)
def test_a_config_that_cannot_be_meant_is_refused(change):
    with pytest.raises(ValidationError):
        Config.model_validate(LEAST | change)


@pytest.mark.parametrize("given", [{"must": "improve"}, {"must": "not_regress"}, {"must": "not_regress", "margin": 0}])
def test_a_task_gate_needs_the_threshold_that_it_is_judged_by(given):
    with pytest.raises(ValidationError):
        TaskGate.model_validate(given)


def test_outcomes_combine_by_precedence_in_any_order():
    order = (Outcome.FAIL, Outcome.STALE, Outcome.INCONCLUSIVE, Outcome.PASS)
    for size in range(1, 5):
        for some in permutations(order, size):
            assert combine(some) is min(some, key=order.index)


def test_nothing_and_what_does_not_apply_are_no_evidence():
    assert combine([]) is Outcome.INCONCLUSIVE
    assert combine([Outcome.NOT_APPLICABLE]) is Outcome.INCONCLUSIVE
    assert combine([Outcome.NOT_APPLICABLE, Outcome.PASS]) is Outcome.PASS
    assert combine([Outcome.NOT_APPLICABLE, Outcome.FAIL]) is Outcome.FAIL


def test_exit_codes_are_the_documented_ones():
    assert {code.name: int(code) for code in ExitCode} == {
        "PASS": 0,
        "FAIL": 1,
        "USAGE": 2,
        "BUG": 3,
        "INCONCLUSIVE": 4,
        "INTERRUPTED": 130,
        "TERMINATED": 143,
    }
    assert {outcome.value: int(code) for outcome, code in EXIT_CODES.items()} == {
        "pass": 0,
        "fail": 1,
        "inconclusive": 4,
        "stale": 4,
    }


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (UserError("what"), 2),
        (ConfigError([Problem("one"), Problem("two")]), 2),
        (ManifestError("what"), 2),
        (MissingExtra("train", "torch"), 2),
        (ConservationError("curate", 10, 5, 4), 3),
    ],
)
def test_each_error_has_its_exit_code(error, code):
    assert isinstance(error, AssayError)
    assert error.exit_code == code


def test_a_problem_is_told_in_the_order_of_reading():
    problem = Problem("no such file", where="assay.yaml:3", found="'raw'", expected="a file", help="look")
    assert problem.lines() == [
        "no such file",
        "  --> assay.yaml:3",
        "  found 'raw'",
        "  expected a file",
        "  help: look",
    ]
    assert Problem("only this").lines() == ["only this"]


def test_a_finding_keeps_its_fingerprint_when_rows_move_and_changes_with_what_it_says():
    first = finding_fingerprint("DUP201", "row", None, "twin")
    assert len(first) == 32
    assert finding_fingerprint("DUP201", "row", None, "twin") == first
    assert (
        len(
            {first, finding_fingerprint("DUP201", "row", 0, "twin"), finding_fingerprint("DUP202", "row", None, "twin")}
        )
        == 3
    )


def test_severities_rank_from_the_heaviest():
    assert [severity.rank for severity in (Severity.ERROR, Severity.WARNING, Severity.INFO)] == [0, 1, 2]


def test_every_kind_of_row_has_a_model_that_refuses_strangers():
    assert sorted(ROW_MODELS) == ["chat", "feedback", "preference", "prompt-completion", "reward", "text"]
    assert ROW_MODELS["chat"].model_validate({"messages": [{"role": role, "content": "x"} for role in ROLES]})
    with pytest.raises(ValidationError):
        ROW_MODELS["chat"].model_validate({"messages": [{"role": "robot", "content": "x"}]})


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Grüße, 你好, \U0001f600", "Grüße, 你好, \U0001f600"),
        ("\x1b[31mred", r"\x1b[31mred"),
        ("a\nb\tc\r", r"a\nb\tc\r"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\ud800", r"\ud800"),
        ("\x00\x9b", r"\x00\x9b"),
    ],
)
def test_only_what_a_terminal_shows_as_it_is_passes(text, shown):
    assert printable(text) == shown
