import atexit
import errno
import gc
import logging
import os
import subprocess
import sys

import pytest

from actionrec.core import entry
from actionrec.core.errors import DataError, VideoError

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "data/frames/shard-0001.tar")
MISSING = FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), "/no/such/file")


@pytest.fixture
def run(capsys, monkeypatch):
    """Run `main` as a stage does; return the exit status and the text on stderr."""
    level = logging.getLogger().level

    def run(main):
        monkeypatch.setattr(logging.getLogger(), "handlers", [])  # pytest's
        try:
            entry.run(main)
        except SystemExit as end:
            return end.code, capsys.readouterr().err
        return 0, capsys.readouterr().err

    yield run
    logging.getLogger().setLevel(level)
    gc.unfreeze()


def raising(error):
    def main():
        raise error

    return main


def test_a_log_message_is_a_plain_line_without_control_characters(run):
    assert run(lambda: logging.getLogger("actionrec").info("12 clips of \x1b[31mRun")) == (0, "12 clips of \\x1b[31mRun\n")


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (DataError("a.avi: is missing.\nFetch it."), 2, "error: a.avi: is missing.\nFetch it.\n"),
        (VideoError("no frame"), 2, "error: no frame\n"),
        (FULL, 2, f"error: No space left on device: {FULL.filename}. Fix this and rerun; finished work is kept.\n"),
        (MISSING, 2, "error: No such file or directory: /no/such/file. Fix this and rerun; finished work is kept.\n"),
        (OSError(errno.EROFS, "Read-only"), 2, "error: Read-only. Fix this and rerun; finished work is kept.\n"),
        (KeyboardInterrupt(), 130, "interrupted; run `dvc repro` to continue\n"),
    ],
)
def test_an_error_that_the_user_can_fix_is_a_message_without_a_traceback(run, error, status, message):
    assert run(raising(error)) == (status, message)


@pytest.mark.parametrize("error", [KeyError("key"), OSError(errno.EBADF, "Bad file descriptor"), OSError(errno.EINVAL, "Invalid")])
def test_any_other_exception_keeps_its_traceback(run, error):
    with pytest.raises(type(error)):
        run(raising(error))


def test_a_message_in_any_script_is_printed_on_a_terminal_without_unicode():
    code = "from actionrec.core import entry, errors\ndef main(): raise errors.DataError('видео \\u2028 é')\nentry.run(main)"
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")


@pytest.mark.parametrize("error", [None, DataError("wrong")])
def test_garbage_is_collected_but_not_among_libraries_and_not_at_the_end(run, monkeypatch, error):
    counts, registered = [], []
    monkeypatch.setattr(atexit, "register", registered.append)

    def main():
        counts.append(gc.get_freeze_count())
        assert gc.isenabled()
        if error:
            raise error

    try:
        gc.unfreeze()
        run(main)
        gc.disable()
        run(main)
        run(main)
    finally:
        gc.enable()
        gc.unfreeze()
    assert counts[0] == 0 < counts[2] <= counts[1]  # only what was there when the collector was off
    assert gc.freeze in registered


@pytest.mark.parametrize(("started_as", "expected"), [("-m", "False"), ("program.py", "True")])
def test_a_stage_that_is_run_collects_no_garbage_while_it_imports(started_as, expected):
    code = f"import sys; sys.argv[0] = {started_as!r}; import gc, stages; print(gc.isenabled())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == expected
