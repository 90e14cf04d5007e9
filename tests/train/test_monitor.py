"""Progress for people, and a metrics file that a resumed run continues exactly."""

import io
import json

import pytest
from rich.console import Console

from train.monitor import MetricsLog, PlainView, Rate, SilentView, TerminalView, choose_view


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


def test_a_resumed_run_rewrites_what_came_after_its_checkpoint(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.rewind(-1)
    for step in range(5):
        log.write({"step": step, "loss": step / 2})
    log.rewind(2)
    assert [json.loads(line)["step"] for line in log.path.read_text().splitlines()] == [0, 1, 2]


def test_a_line_that_was_cut_by_a_kill_is_dropped(tmp_path):
    log = MetricsLog(tmp_path / "metrics.jsonl")
    log.path.write_bytes(b'{"step": 1}\n{"step": 2, "lo')
    log.rewind(9)
    assert log.path.read_bytes() == b'{"step": 1}\n'


def test_a_metric_that_is_no_number_is_not_written(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        MetricsLog(tmp_path / "metrics.jsonl").write({"step": 1, "loss": float("nan")})


def test_the_rate_counts_tokens_and_tells_the_time_left():
    clock = Clock()
    rate = Rate(1000, clock)
    assert (rate.per_second, rate.seconds_left) == (0.0, 0.0)
    clock.now += 2
    rate.count(100)
    assert (rate.per_second, rate.seconds_left) == (50.0, 18.0)


def test_lines_come_every_ten_seconds_and_at_the_end(capsys):
    clock = Clock()
    view = PlainView(clock)
    view.begin(0, 40, 400)
    for step in range(1, 41):
        clock.now += 1
        view.advance(step, 10, 0.5)
    lines = capsys.readouterr().err.splitlines()
    assert [line.split("  ")[0] for line in lines] == [
        "step 1/40",
        "step 11/40",
        "step 21/40",
        "step 31/40",
        "step 40/40",
    ]
    assert lines[1] == "step 11/40  loss 0.5000  10 tokens/s  29s left"


def test_a_terminal_gets_a_bar_and_text_is_not_markup():
    stream = io.StringIO()
    view = TerminalView(Console(file=stream, force_terminal=True, width=100))
    view.begin(2, 4, 100)
    view.say("[bold]plain")
    view.advance(3, 50, 0.25)
    view.advance(4, 50, 0.125)
    view.end()
    assert "[bold]plain" in stream.getvalue()
    assert "step 4/4  loss 0.1250" in stream.getvalue()


def test_quiet_shows_nothing(capsys):
    view = choose_view(quiet=True)
    assert isinstance(view, SilentView)
    view.begin(0, 1, 1)
    view.advance(1, 1, 1.0)
    view.say("text")
    view.end()
    assert capsys.readouterr() == ("", "")


def test_a_pipe_gets_lines():
    assert isinstance(choose_view(quiet=False), PlainView)
