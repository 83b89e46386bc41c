import logging
import os
import pty
import subprocess
import sys
import termios

import pytest

from actionrec.parallel import progress_table as module
from actionrec.parallel.progress_table import ProgressTable


class Clock:
    """Stands in for the time module: seconds pass when told to."""

    now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch, caplog):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr("sys.stderr.isatty", lambda: False, raising=False)
    caplog.set_level(logging.INFO)
    return clock


def test_elsewhere_changes_are_lines_and_what_runs_speaks_every_ten_seconds(clock, caplog):
    board = ProgressTable(["gru", "lstm"])
    board.change("gru", "running")
    clock.now += 9
    board.note("gru", "1 of 20 epochs")
    board.refresh()
    clock.now += 1
    board.note("gru", "2 of 20 epochs")
    board.refresh()
    board.refresh()
    clock.now += 3
    board.change("gru", "failed", "the loss is not finite")
    assert [message.split() for message in caplog.messages] == [
        ["gru", "running"],
        ["gru", "running", "10", "s", "2", "of", "20", "epochs"],
        ["gru", "failed", "13", "s", "the", "loss", "is", "not", "finite"],
    ]
    assert board.in_state("waiting") == ["lstm"]
    assert board.in_state("failed", "done") == ["gru"]


def shown_on_a_terminal(code: str, lines: int) -> str:
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (lines, 40))
    environment = {name: value for name, value in os.environ.items() if name not in ("LINES", "COLUMNS")}
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        try:
            subprocess.run([sys.executable, "-c", code], stdin=theirs, stdout=theirs, stderr=theirs, env=environment, check=True)
            return terminal.read(65536).decode()
        finally:
            os.close(theirs)


CODE = """
import logging
from actionrec.parallel.progress_table import ProgressTable
logging.basicConfig(level=logging.INFO, format="%(message)s")
table = ProgressTable(["gru", "lstm"])
table.change("gru", "running")
table.change("gru", "done", "x" * 100)
"""


def test_a_terminal_shows_all_rows_in_place_and_cuts_long_ones():
    shown = shown_on_a_terminal(CODE, lines=24)
    first, second = shown.split("\x1b[2F")
    assert "lstm  waiting" in first
    assert [len(line) for line in second.replace("\x1b[2K", "").splitlines()] == [39, len("lstm  waiting")]


def test_a_terminal_too_low_for_all_rows_gets_lines():
    assert "\x1b" not in shown_on_a_terminal(CODE, lines=2)
