import os
import subprocess
import sys
from pathlib import Path

import pytest

from actionrec.core import file_lock

ROOT = Path(__file__).parents[2]
WAITS = """
import logging, sys
from pathlib import Path
from actionrec.core import file_lock
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
with file_lock.held(Path(sys.argv[1]), "the test"):
    print("locked")
"""
HOLDS = """
import sys, time
from pathlib import Path
from actionrec.core import file_lock
with file_lock.held(Path(sys.argv[1]), "the test"):
    print("locked", flush=True)
    time.sleep(600)
"""


def start(code, path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen([sys.executable, "-u", "-c", code, path], env=environment, stdout=subprocess.PIPE, text=True)


@pytest.fixture(params=["file", "folder"])
def path(tmp_path, request):
    path = tmp_path / "lock"
    if request.param == "folder":
        path.mkdir()
    return path


def test_a_lock_is_held_once_and_free_afterwards(path):
    with file_lock.held(path, "another run"):
        assert file_lock.try_lock(path) is None
    lock = file_lock.try_lock(path)
    assert lock is not None
    os.close(lock)


def test_a_second_process_waits_and_logs_for_whom(path):
    with file_lock.held(path, "another run"):
        waiting = start(WAITS, path)
        assert waiting.stdout.readline() == "waiting for the test\n"
    assert waiting.communicate(timeout=30)[0] == "locked\n"


def test_a_killed_process_holds_no_lock(path):
    holder = start(HOLDS, path)
    assert holder.stdout.readline() == "locked\n"
    assert file_lock.try_lock(path) is None
    holder.kill()
    holder.communicate()
    lock = file_lock.try_lock(path)
    assert lock is not None
    os.close(lock)


def test_a_process_that_waited_for_a_removed_file_locks_the_new_one(tmp_path):
    path = tmp_path / "lock"
    with file_lock.held(path, "another run"):
        waiting = start(WAITS, path)
        assert waiting.stdout.readline() == "waiting for the test\n"
        path.unlink()
    assert waiting.communicate(timeout=30)[0] == "locked\n"
    assert path.exists()


def test_a_missing_file_and_a_symlink_are_not_locked(tmp_path):
    assert file_lock.try_lock(tmp_path / "missing") is None
    assert not (tmp_path / "missing").exists()
    (tmp_path / "link").symlink_to(tmp_path)
    assert file_lock.try_lock(tmp_path / "link") is None
