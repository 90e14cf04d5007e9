"""A server is waited for, asked, and always ended, with all that it started; one that dies says why."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from evals.release.serving import PROGRAM, NotAnsweredError, answer_of, serving
from schemas.errors import UserError

FAKE = Path(__file__).with_name("fake_server.py")


def told(folder, **what):
    (folder / "fake.json").write_text(json.dumps(what), "utf-8")
    return folder


def pid_of(folder, name="server"):
    return int((folder / f"{name}.pid").read_text("utf-8"))


def is_alive(pid):
    """A process that ended and was not collected yet counts as ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def chat(server, content="hello"):
    return answer_of(server.post("/v1/chat/completions", {"messages": [{"role": "user", "content": content}]}))


def test_a_server_is_asked_and_ended_with_all_that_it_started(tmp_path):
    told(tmp_path, answers={"hello": "hi"}, child=True)
    with serving("transformers", "model", tmp_path, program=FAKE) as server:
        assert chat(server) == "hi"
        pids = [pid_of(tmp_path), pid_of(tmp_path, "child")]
        assert all(map(is_alive, pids))
    deadline = time.monotonic() + 30
    while any(map(is_alive, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_alive, pids))


def test_a_slow_server_is_waited_for(tmp_path):
    with serving("transformers", "model", told(tmp_path, late_s=1.0), program=FAKE) as server:
        assert chat(server) == "?"


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_it_ends_whatever_happens_while_it_is_asked(tmp_path, error):
    with pytest.raises(error), serving("transformers", "model", told(tmp_path), program=FAKE):
        raise error
    assert not is_alive(pid_of(tmp_path))


def test_one_that_dies_is_told_with_the_end_of_its_log(tmp_path):
    with pytest.raises(UserError) as raised, serving("transformers", "model", told(tmp_path, die=3), program=FAKE):
        pass
    (problem,) = raised.value.problems
    assert problem.what == "the server of model ended before it was ready"
    assert problem.found == "status 3\nthe model \\x1b[31mis red"


def test_one_that_is_never_ready_is_ended(tmp_path):
    with (
        pytest.raises(UserError, match="not ready in time"),
        serving("transformers", "model", told(tmp_path, late_s=600), program=FAKE, ready_s=1.0),
    ):
        pass
    assert not is_alive(pid_of(tmp_path))


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ({"status": 500}, "/v1/chat/completions: status 500"),
        ({"raw": {"choices": []}}, "no chat completion"),
        ({"raw": [1]}, "/v1/chat/completions: [1]"),
    ],
)
def test_an_answer_that_is_none_is_told_with_the_log(tmp_path, what, said):
    with (
        pytest.raises(UserError) as raised,
        serving("transformers", "model", told(tmp_path, **what), program=FAKE) as up,
    ):
        chat(up)
    assert raised.value.problems[0].found.startswith(said)
    assert not is_alive(pid_of(tmp_path))


def ask_one_that_was_killed(folder):
    with serving("transformers", "model", told(folder), program=FAKE) as server:
        os.kill(pid_of(folder), signal.SIGKILL)
        deadline = time.monotonic() + 30
        while is_alive(pid_of(folder)) and time.monotonic() < deadline:
            time.sleep(0.05)
        chat(server)


def test_a_server_that_went_away_does_not_answer(tmp_path):
    with pytest.raises(UserError, match="did not answer"):
        ask_one_that_was_killed(tmp_path)


def test_no_chat_completion_is_told():
    with pytest.raises(NotAnsweredError, match="no chat completion"):
        answer_of({"error": "no"})


def test_the_program_ends_when_its_parent_is_gone(tmp_path):
    code = f"""
import importlib.util, sys, time
spec = importlib.util.spec_from_file_location("program", {str(PROGRAM)!r})
program = importlib.util.module_from_spec(spec)
spec.loader.exec_module(program)
program.end_with_parent()
sys.stdout.write("up\\n"); sys.stdout.flush()
time.sleep(600)
"""
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert child.stdin is not None
    assert child.stdout is not None
    assert child.stdout.readline() == b"up\n"
    child.stdin.close()  # as the system does it when the parent is killed
    assert child.wait(30) == 0
    child.stdout.close()
