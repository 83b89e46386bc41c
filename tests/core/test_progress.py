import logging

import pytest
from terminals import Clock, terminal_output

from actionrec.core import progress as module
from actionrec.core.progress import progress


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr("sys.stderr.isatty", lambda: False, raising=False)
    return clock


@pytest.mark.parametrize(
    ("seconds", "counts", "messages"),
    [
        (4, [5] * 8, ["15 of 100 clips, 1.2 a second, 68 s left", "30 of 100 clips, 1.2 a second, 56 s left"]),
        (20, [5], ["5 of 100 clips, 4.0 s each, 380 s left"]),
        (11, [0], ["0 of 100 clips, 0.0 a second, time left unknown"]),
        (1, [30, 30], []),  # quick work
        (60, [100], []),  # finished
    ],
)
def test_without_a_terminal_a_line_every_ten_seconds_has_rate_and_time_left(clock, caplog, capsys, seconds, counts, messages):
    caplog.set_level(logging.INFO)
    with progress("Extracting frames", 100, "clip") as advance:
        for count in counts:
            clock.now += seconds
            advance(count)
    assert caplog.messages == [f"Extracting frames: {message}" for message in messages]
    assert capsys.readouterr().err == ""


def test_work_of_unknown_size_has_no_time_left(clock, caplog):
    caplog.set_level(logging.INFO)
    with progress("Reading", None, "MB") as advance:
        clock.now += 20
        advance(40)
    assert caplog.messages == ["Reading: 40 MB, 2.0 a second"]


def test_on_a_terminal_there_is_a_bar():
    code = "from actionrec.core.progress import progress\nwith progress('Working', 4, 'clip') as advance:\n  advance(1); advance(3)"
    text = terminal_output(code)
    assert "Working:" in text
    assert "0/4" in text
    assert "\r" in text
