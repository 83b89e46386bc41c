"""Run DVC from a command, and remove its lock file where a killed process left it unreadable.

`.dvc/tmp/rwlock` lists which process reads or writes which path. DVC writes it in place, so `kill -9` at that moment leaves it
empty or cut short, and then every DVC command fails until it is removed.
"""

import json
import logging
import os
import sys
import time
from pathlib import Path

from actionrec.core.errors import ActionrecError
from actionrec.core.text import first_few

logger = logging.getLogger(__name__)

DVC = (sys.executable, "-m", "dvc")
LOCK_FILE = Path(".dvc/tmp/rwlock")

_GRACE_SECONDS = 3.0  # children of a killed process may need a moment to end


def environment() -> dict[str, str]:
    """The environment for DVC. Stages run this `python`, even if its virtual environment is not activated."""
    return {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"}


def remove_unreadable_lock() -> None:
    """Remove the lock file of the project in the current folder if it is unreadable and no DVC process runs there.

    Raises:
        ActionrecError: it is unreadable, and a DVC process runs there.
    """
    if _is_readable():
        return
    from dvc.lock import LockError, make_lock  # type: ignore[import-untyped]  # imported here, since it takes half a second

    in_use = f"{LOCK_FILE}: DVC's lock file is empty or damaged, and DVC is still running here"
    try:
        with make_lock(f"{LOCK_FILE}.lock"):  # DVC writes the file under this lock: nobody is writing it now
            if _is_readable():
                return
            until = time.monotonic() + _GRACE_SECONDS
            while (running := dvc_processes(Path.cwd())) and time.monotonic() < until:
                time.sleep(0.1)
            if running:
                listed = first_few([f"process {number}" for number in running])
                raise ActionrecError(f"{in_use} ({listed}). Wait until it has ended, then rerun.")
            LOCK_FILE.unlink(missing_ok=True)
    except LockError:
        raise ActionrecError(f"{in_use}. Wait until it has ended, then rerun.") from None
    logger.warning("removed %s: a killed process had left it empty or damaged", LOCK_FILE)


def _is_readable() -> bool:
    try:
        return isinstance(json.loads(LOCK_FILE.read_text(encoding="utf-8")), dict)
    except FileNotFoundError:
        return True
    except ValueError:
        return False


def dvc_processes(root: Path) -> list[int]:
    """IDs of the processes that run DVC in a folder or below it."""
    import psutil

    running = []
    for process in psutil.process_iter():
        try:
            folder, words = Path(process.cwd()), process.cmdline()[:3]
        except psutil.Error:
            continue  # it has ended, or belongs to another user
        if folder.is_relative_to(root) and any(Path(word).name == "dvc" for word in words):
            running.append(process.pid)
    return running
