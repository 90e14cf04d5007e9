"""Progress: silent while work is short, one line on a terminal, few lines in a log."""

import io

import pytest

from schemas.progress import Progress, duration


class Clock:
    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Terminal(io.StringIO):
    def isatty(self):
        return True


def run(progress: Progress, clock: Clock, seconds: int, total: int = 1000) -> None:
    progress.begin("near-duplicate")
    for second in range(1, seconds + 1):
        clock.now += 1
        progress.advance(total * second // seconds, total)


@pytest.mark.parametrize("stream", [io.StringIO, Terminal])
def test_what_takes_less_than_the_patience_shows_nothing(stream):
    clock, shown = Clock(), stream()
    with Progress(patience_s=2.0, stream=shown, clock=clock) as progress:
        run(progress, clock, 1)
    assert shown.getvalue() == ""


def test_a_log_gets_a_line_every_ten_seconds_with_rate_and_time_left():
    clock, shown = Clock(), io.StringIO()
    run(Progress(patience_s=2.0, stream=shown, clock=clock), clock, 25)
    assert shown.getvalue().splitlines() == [
        "near-duplicate: 400/1,000 rows  40.0 rows/s  15s left",
        "near-duplicate: 800/1,000 rows  40.0 rows/s  5s left",
        "near-duplicate: 1,000/1,000 rows  40.0 rows/s",
    ]
    assert "\r" not in shown.getvalue()
    assert "\x1b" not in shown.getvalue()


def test_a_terminal_gets_one_line_that_is_wiped_at_the_end(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    clock, shown = Clock(), Terminal()
    with Progress(patience_s=2.0, stream=shown, clock=clock) as progress:
        run(progress, clock, 4)
        progress.begin("splitting")
    lines = shown.getvalue().split("\r\x1b[K")
    assert lines[1:] == [
        "near-duplicate: 500/1,000 rows  250 rows/s  2s left",
        "near-duplicate: 750/1,000 rows  250 rows/s  1s left",
        "near-duplicate: 1,000/1,000 rows  250 rows/s\n",
    ]
    with Progress(stream=shown, clock=clock) as progress:
        progress.begin("splitting")
    assert shown.getvalue().endswith("\r\x1b[Ksplitting\r\x1b[K")


@pytest.mark.parametrize("term", ["dumb", "xterm"])
def test_a_dumb_terminal_gets_lines(term, monkeypatch):
    monkeypatch.setenv("TERM", term)
    clock, shown = Clock(), Terminal()
    run(Progress(stream=shown, clock=clock), clock, 3)
    assert ("\x1b" in shown.getvalue()) is (term == "xterm")


def test_a_part_counts_in_its_own_unit_and_from_its_first_call_once_there_are_two():
    clock, shown = Clock(), io.StringIO()
    progress = Progress(stream=shown, clock=clock)
    progress.begin("near-duplicate")
    clock.now += 50  # what came before the first call is no part of the rate after it
    progress.part("verify", 100, 500, "pairs")
    clock.now += 10
    progress.part("verify", 300, 500, "pairs")
    assert shown.getvalue().splitlines() == [
        "near-duplicate",
        "near-duplicate, verify: 100/500 pairs  2.0 pairs/s  3m 20s left",
        "near-duplicate, verify: 300/500 pairs  20.0 pairs/s  10s left",
    ]


def test_bytes_are_shown_as_megabytes():
    clock, shown = Clock(), io.StringIO()
    progress = Progress(stream=shown, clock=clock)
    progress.begin("reading", "bytes")
    clock.now += 20
    progress.advance(40_000_000, 100_000_000)
    assert shown.getvalue().splitlines()[-1] == "reading: 40.0/100.0 MB  2.0 MB/s  30s left"


def test_quiet_shows_nothing_and_what_is_said_wipes_the_line(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    clock, shown = Clock(), Terminal()
    quiet = Progress(quiet=True, stream=shown, clock=clock)
    run(quiet, clock, 30)
    quiet.say("text")
    assert shown.getvalue() == ""
    loud = Progress(stream=shown, clock=clock)
    loud.begin("evil \x1b[31m name")
    loud.say("text")
    assert shown.getvalue() == "\r\x1b[Kevil \\x1b[31m name\r\x1b[Ktext\n"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0s"), (59.4, "59s"), (59.6, "1m 00s"), (185, "3m 05s"), (7620, "2h 07m")]
)
def test_durations_read_well(seconds, text):
    assert duration(seconds) == text
