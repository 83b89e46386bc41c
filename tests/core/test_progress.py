import logging
import os
import pty
import select
import subprocess
import sys
import termios

import pytest

from actionrec.core import progress as module
from actionrec.core.progress import progress


class Clock:
    """Stands in for the time module: seconds pass when told to."""

    now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr("sys.stderr.isatty", lambda: False, raising=False)
    return clock


def test_elsewhere_a_line_every_ten_seconds_tells_rate_and_time_left(clock, caplog):
    caplog.set_level(logging.INFO)
    with progress("Extracting frames", 100, "clip") as advance:
        for _ in range(8):  # 5 clips every 4 seconds
            clock.now += 4
            advance(5)
    assert [record.getMessage() for record in caplog.records] == [
        "Extracting frames: 15 of 100 clips, 1.2 a second, 68 s left",
        "Extracting frames: 30 of 100 clips, 1.2 a second, 56 s left",
    ]


def test_a_slow_rate_is_seconds_each(clock, caplog):
    caplog.set_level(logging.INFO)
    with progress("Extracting features", 100, "clip") as advance:
        clock.now += 20
        advance(5)
    assert caplog.messages == ["Extracting features: 5 of 100 clips, 4.0 s each, 380 s left"]


def test_without_anything_done_the_time_left_is_unknown(clock, caplog):
    caplog.set_level(logging.INFO)
    with progress("Extracting frames", 100, "clip") as advance:
        clock.now += 11
        advance(0)
    assert caplog.messages == ["Extracting frames: 0 of 100 clips, 0.0 a second, time left unknown"]


def test_quick_work_is_silent_and_so_is_its_end(clock, caplog, capsys):
    caplog.set_level(logging.INFO)
    with progress("Quick", 3, "clip") as advance:
        advance(1)
        clock.now += 60
        advance(2)
    assert caplog.messages == []
    assert capsys.readouterr().err == ""


def test_an_error_comes_through(clock):
    with pytest.raises(RuntimeError, match="inner"), progress("Work", 3, "clip"):
        raise RuntimeError("inner")


def test_on_a_terminal_there_is_a_bar():
    code = "from actionrec.core.progress import progress\nwith progress('Working', 4, 'clip') as advance:\n  advance(1); advance(3)"
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, 80))
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        try:
            subprocess.run([sys.executable, "-c", code], stderr=theirs, check=True, timeout=60)
            assert select.select([terminal], [], [], 10)[0], "nothing was shown"
            shown = terminal.read(4096).decode()
        finally:
            os.close(theirs)
    assert "Working:" in shown
    assert "0/4" in shown
    assert "\r" in shown
