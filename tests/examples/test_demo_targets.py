"""What `make demo` and `make demo-overfit` make of each exit code, shown with a stand-in for the `assay` command."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# Prints its arguments to a log and exits as the variable of its stage says: EXIT_audit, EXIT_gate_model, ...
STAND_IN = """#!/bin/bash
echo "$*" >> calls.log
case "$*" in *"--format json"*) echo "$VERDICT";; esac
case "$1" in gate) stage="gate_$2";; *) stage="$1";; esac
variable="EXIT_$stage"
exit "${!variable:-0}"
"""
CHAIN = ["audit", "curate", "gate data", "train", "evals", "gate model", "report"]


@pytest.fixture
def checkout(tmp_path):
    """A folder where the installation is up to date and `assay` is the stand-in."""
    for name in ("Makefile", "pyproject.toml", "constraints.txt", "examples/spam/blames_overfitting.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    commands = tmp_path / ".venv" / "bin"
    commands.mkdir(parents=True)
    (commands / "python").symlink_to(sys.executable)
    (commands / "assay").write_text(STAND_IN, encoding="utf-8")
    (commands / "assay").chmod(0o755)
    (tmp_path / ".venv" / ".installed").touch()
    return tmp_path


def make(folder, *arguments, **variables):
    """Run make and give its result and the stages that were called; settings of a make around this one stay out."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    environment = inherited | variables
    done = subprocess.run(
        ["make", *arguments], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    log = folder / "calls.log"
    calls = log.read_text(encoding="utf-8").splitlines() if log.exists() else []
    return done, [call.partition(" --config")[0] for call in calls]


def verdict(outcome, **checks):
    named = [{"name": name.replace("_", ":"), "outcome": found, "message": "m"} for name, found in checks.items()]
    return json.dumps({"outcome": outcome, "checks": named})


def test_demo_runs_the_whole_chain_and_tolerates_findings(checkout):
    done, calls = make(checkout, "demo", EXIT_audit="1")
    assert (done.returncode, calls) == (0, CHAIN)
    assert "gate model exited 0: pass" in done.stdout


@pytest.mark.parametrize("stage", ["curate", "gate_data", "train", "evals"])
def test_demo_stops_at_a_stage_that_fails(checkout, stage):
    done, calls = make(checkout, "demo", **{f"EXIT_{stage}": "1"})
    assert done.returncode == 2
    assert calls == CHAIN[: CHAIN.index(stage.replace("_", " ")) + 1]


def test_demo_stops_when_the_audit_cannot_read(checkout):
    done, calls = make(checkout, "demo", EXIT_audit="2")
    assert (done.returncode, calls) == (2, ["audit"])


def test_demo_says_what_is_missing_when_the_gate_is_inconclusive(checkout):
    done, calls = make(checkout, "demo", EXIT_gate_model="4")
    assert (done.returncode, calls) == (0, CHAIN)
    assert "gate model exited 4: inconclusive, so this model does not ship" in done.stdout


@pytest.mark.parametrize(("code", "meaning"), [("1", "fail"), ("2", "it could not judge")])
def test_demo_reports_a_verdict_that_is_no_pass_and_fails_with_it(checkout, code, meaning):
    done, calls = make(checkout, "demo", EXIT_gate_model=code)
    assert (done.returncode, calls) == (2, CHAIN)
    assert f"gate model exited {code}: {meaning}" in done.stdout
    assert f"Error {code}" in done.stderr


def test_config_reaches_every_stage_and_flags_those_that_the_config_steers(checkout):
    make(checkout, "demo", "CONFIG=mine.yaml", "FLAGS=--set train.epochs=2")
    audit, *others = (checkout / "calls.log").read_text(encoding="utf-8").splitlines()
    assert audit == "audit --config mine.yaml"
    assert others == [f"{stage} --config mine.yaml --set train.epochs=2" for stage in CHAIN[1:]]


def test_overfit_demo_succeeds_when_the_gate_blames_overfitting(checkout):
    done, calls = make(
        checkout, "demo-overfit", EXIT_gate_model="1", VERDICT=verdict("fail", overfitting_gap="fail", t_improve="pass")
    )
    assert done.returncode == 0, done.stderr
    assert calls == ["curate", "gate data", "train", "evals", "gate model", "gate model"]
    assert "as expected, the gate failed on overfitting:gap" in done.stdout


@pytest.mark.parametrize(
    ("code", "given"),
    [
        ("0", verdict("pass", overfitting_gap="pass")),
        ("1", verdict("fail", overfitting_gap="pass", t_improve="fail")),
        ("4", verdict("inconclusive", overfitting_gap="inconclusive")),
    ],
)
def test_overfit_demo_fails_on_any_other_verdict(checkout, code, given):
    done, _ = make(checkout, "demo-overfit", EXIT_gate_model=code, VERDICT=given)
    assert done.returncode == 2
    assert "not as expected" in done.stderr


RETRAINED = ["curate", "drift", "curate", "curate", "gate data", "train", "evals", "gate model", "release"]


def retrain(checkout, *arguments, **exits):
    """Run `make retrain` and give its result and the stages by name."""
    (checkout / "new.jsonl").write_text("{}\n")
    done, calls = make(checkout, "retrain", "NEW=new.jsonl", *arguments, **exits)
    names = [" ".join(word for word in call.split()[:2] if word in " ".join(RETRAINED)) for call in calls]
    return done, names


def test_retrain_ends_where_new_rows_are_like_the_old_ones(checkout):
    done, calls = retrain(checkout, EXIT_drift="0")
    assert (done.returncode, calls) == (0, RETRAINED[:2])
    assert "there is nothing to do" in done.stdout


def test_retrain_runs_the_whole_chain_with_old_rows_and_new(checkout):
    done, calls = retrain(checkout, EXIT_drift="1")
    assert (done.returncode, calls) == (0, RETRAINED), done.stderr
    log = (checkout / "calls.log").read_text(encoding="utf-8").splitlines()
    new = checkout / "new.jsonl"
    assert log[2] == f'curate --config examples/spam/assay.yaml --index  --set data.sources=["{new}"]'
    assert log[3] == f'curate --config examples/spam/assay.yaml --set data.sources=[raw.jsonl, "{new}"]'
    assert all(line.endswith(f'--set data.sources=[raw.jsonl, "{new}"]') for line in log[3:8])


def test_retrain_stops_where_there_are_too_few_rows_unless_it_is_forced(checkout):
    done, calls = retrain(checkout, EXIT_drift="4")
    assert (done.returncode, calls) == (2, RETRAINED[:2])
    assert "collect more" in done.stdout
    assert "Error 4" in done.stderr
    done, calls = retrain(checkout, "FORCE=1", EXIT_drift="4")
    assert (done.returncode, calls[2:]) == (0, RETRAINED)


@pytest.mark.parametrize("code", ["2", "3", "130"])
def test_retrain_stops_where_drift_could_not_say(checkout, code):
    done, calls = retrain(checkout, EXIT_drift=code)
    assert (done.returncode, calls) == (2, RETRAINED[:2])
    assert f"Error {code}" in done.stderr


@pytest.mark.parametrize("stage", ["gate_data", "train", "evals", "gate_model"])
def test_retrain_stops_at_a_stage_that_fails(checkout, stage):
    done, calls = retrain(checkout, EXIT_drift="1", **{f"EXIT_{stage}": "4"})
    assert (done.returncode, calls[-1]) == (2, stage.replace("_", " "))


def test_retrain_asks_for_rows(checkout):
    done, calls = make(checkout, "retrain")
    assert (done.returncode, calls) == (2, [])
    assert "make retrain NEW=rows.jsonl" in done.stderr


@pytest.mark.parametrize("stage", CHAIN)
def test_each_stage_has_a_target(checkout, stage):
    done, calls = make(checkout, stage.replace(" ", "-"))
    assert (done.returncode, calls) == (0, [stage])


def test_setup_does_nothing_when_up_to_date_and_something_after_a_change(checkout):
    assert make(checkout, "setup")[0].returncode == 0
    os.utime(checkout / "constraints.txt", (2**32, 2**32))
    done, _ = make(checkout, "--question", "setup")
    assert done.returncode == 1


def test_too_old_a_python_is_named(checkout):
    (checkout / ".venv" / ".installed").unlink()
    (checkout / "old").write_text("#!/bin/sh\nexit 1\n", encoding="utf-8")
    (checkout / "old").chmod(0o755)
    done, _ = make(checkout, "setup", "PYTHON=./old")
    assert done.returncode == 2
    assert "assay needs Python 3.11 or newer; ./old is not" in done.stderr


def test_help_lists_every_target(checkout):
    done, _ = make(checkout)
    text = (ROOT / "Makefile").read_text(encoding="utf-8")
    phony = {name for line in text.splitlines() if line.startswith(".PHONY:") for name in line.split()[1:]}
    assert {line.split()[1] for line in done.stdout.splitlines()} == phony
