import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from actionrec.core import file_lock

ROOT = Path(__file__).parents[2]
CODE = """
import logging, sys, time
from pathlib import Path
from actionrec.core import file_lock
logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stdout)
with file_lock.held(Path(sys.argv[1]), "the test"):
    print("locked")
    time.sleep(float(sys.argv[2]))
"""


def start(path, seconds=0):
    """Start a process that holds the lock for some seconds."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-u", "-c", CODE, path, str(seconds)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def is_free(path):
    if (lock := file_lock.try_lock(path)) is None:
        return False
    os.close(lock)
    return True


@pytest.fixture(params=["file", "folder"])
def path(tmp_path, request):
    path = tmp_path / "lock"
    if request.param == "folder":
        path.mkdir()
    return path


def test_a_second_process_waits_and_logs_for_whom(path):
    with file_lock.held(path, "another run"):
        assert not is_free(path)
        waiting = start(path)
        assert waiting.stdout.readline() == "waiting for the test\n"
    assert waiting.communicate(timeout=30)[0] == "locked\n"
    assert is_free(path)


def test_a_killed_process_holds_no_lock(path):
    holder = start(path, seconds=600)
    assert holder.stdout.readline() == "locked\n"
    assert not is_free(path)
    holder.kill()
    holder.communicate()
    assert is_free(path)


def test_a_process_that_waited_for_a_removed_file_locks_the_new_one(tmp_path):
    path = tmp_path / "lock"
    with file_lock.held(path, "another run"):
        waiting = start(path)
        assert waiting.stdout.readline() == "waiting for the test\n"
        path.unlink()
    assert waiting.communicate(timeout=30)[0] == "locked\n"
    assert path.exists()


def test_files_are_locked_open_for_writing_as_nfs_requires(tmp_path):
    (tmp_path / "lock").touch()
    lock = file_lock.try_lock(tmp_path / "lock")
    assert fcntl.fcntl(lock, fcntl.F_GETFL) & os.O_ACCMODE == os.O_RDWR
    os.close(lock)


def test_a_missing_file_and_a_symlink_are_not_locked(tmp_path):
    assert not is_free(tmp_path / "missing")
    assert not (tmp_path / "missing").exists()
    (tmp_path / "link").symlink_to(tmp_path)
    assert not is_free(tmp_path / "link")
