import logging

import pytest
from terminals import Clock, terminal_output

from actionrec.parallel import progress_table as module
from actionrec.parallel.progress_table import ProgressTable


@pytest.fixture
def clock(monkeypatch, caplog):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr("sys.stderr.isatty", lambda: False, raising=False)
    caplog.set_level(logging.INFO)
    return clock


def test_without_a_terminal_changes_are_lines_and_running_rows_are_logged_every_ten_seconds(clock, caplog):
    table = ProgressTable(["gru", "lstm"])
    table.change("gru", "running")
    clock.now += 9
    table.note("gru", "1 of 20 epochs")
    table.refresh()
    clock.now += 1
    table.note("gru", "2 of 20 epochs")
    table.refresh()
    table.refresh()
    clock.now += 3
    table.change("gru", "failed", "the loss is not finite")
    assert [" ".join(message.split()) for message in caplog.messages] == [
        "gru running",
        "gru running 10 s 2 of 20 epochs",
        "gru failed 13 s the loss is not finite",
    ]
    assert table.in_state("waiting") == ["lstm"]
    assert table.in_state("failed", "done") == ["gru"]


CODE = """
import logging
from actionrec.parallel.progress_table import ProgressTable
logging.basicConfig(level=logging.INFO, format="%(message)s")
table = ProgressTable(["gru", "lstm"])
table.change("gru", "running")
table.change("gru", "done", "x" * 100)
"""


def test_a_terminal_shows_all_rows_in_place_and_cuts_long_ones():
    first, second = terminal_output(CODE).split("\x1b[2F")
    assert "lstm  waiting" in first
    assert [len(line) for line in second.replace("\x1b[2K", "").splitlines()] == [39, len("lstm  waiting")]


def test_a_terminal_with_fewer_lines_than_rows_gets_log_lines():
    assert "\x1b" not in terminal_output(CODE, lines=2)
