"""End a process together with its parent, so that a killed `dvc repro` leaves no process that still writes.

On Linux the kernel kills the process at once. Elsewhere, a thread checks every second whether the parent has ended.
"""

import ctypes
import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

_STAGE = "DVC_STAGE"  # DVC sets it for a stage's command, not for itself
_PARENT = "ACTIONREC_PARENT"
_PROC = Path("/proc")
_POLL_SECONDS = 1.0


def end_with_parent(parent: int) -> bool:
    """Have the kernel kill this process when its parent ends. Returns False if this system cannot do that.

    Args:
        parent: process ID of the parent. If it has ended already, this process exits.
    """
    pr_set_pdeathsig = 1
    try:
        bound = ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL) == 0
    except AttributeError:  # not Linux
        bound = False
    if os.getppid() != parent:
        os._exit(1)
    return bound


@contextmanager
def binding_workers() -> Iterator[None]:
    """Worker processes started in this block end with this process, from their first import on.

    A worker first imports the stage and its libraries, which takes seconds. The first of these imports is the package itself,
    which calls `end_if_bound`.
    """
    os.environ[_PARENT] = str(os.getpid())
    try:
        yield
    finally:
        del os.environ[_PARENT]


def end_if_bound() -> None:
    """End this process with its parent if the parent started it in `binding_workers`."""
    if parent := os.environ.pop(_PARENT, ""):
        _end_this_program_with_parent(int(parent))


def end_with_dvc() -> None:
    """End this process with the `dvc` that runs it as a stage; do nothing outside a stage.

    DVC starts a stage in a shell, $SHELL or /bin/sh. Some shells, such as bash, are replaced by the stage. Others, such as dash,
    which is /bin/sh in Debian, stay between the two, so that DVC can end without the stage's parent. Without /proc, the stage
    ends with its parent only.
    """
    if _STAGE not in os.environ:
        return
    parent = os.getppid()
    _end_this_program_with_parent(parent)
    if not (_PROC / "self").exists():
        return
    try:
        dvc = _dvc(parent)
        if os.getsid(dvc) != os.getsid(0):  # DVC has ended, and this is the process that adopts orphans
            _kill_this_process()
        if dvc != parent:
            _kill_this_process_when(_ended(dvc))
    except ProcessLookupError:
        _kill_this_process()


def is_running(process: int) -> bool:
    """Whether there is a process with this ID, of any user."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _end_this_program_with_parent(parent: int) -> None:
    if not end_with_parent(parent):
        _kill_this_process_when(lambda: os.getppid() != parent)


def _dvc(process: int) -> int:
    """The nearest of a process and its ancestors that does not belong to the stage, as the shells do."""
    own = f"{_STAGE}={os.environ[_STAGE]}".encode()
    while own in _read(process, "environ").split(b"\0"):
        process = int(_read(process, "stat").rpartition(b")")[2].split()[1])
    return process


def _read(process: int, name: str) -> bytes:
    try:
        return (_PROC / str(process) / name).read_bytes()
    except PermissionError:  # another user's
        return b""
    except FileNotFoundError:
        raise ProcessLookupError from None


def _ended(process: int) -> Callable[[], bool]:
    """A function that returns whether a process has ended; where the system supports it, it waits for the end instead.

    Raises:
        ProcessLookupError: it has ended already.
    """
    try:
        descriptor = os.pidfd_open(process)
    except ProcessLookupError:
        raise
    except (OSError, AttributeError):  # a kernel before 5.3, a sandbox, macOS, or a Python built without it
        return lambda: not is_running(process)
    return lambda: bool(select.select([descriptor], [], []))


def _kill_this_process_when(has_ended: Callable[[], bool]) -> None:
    def watch() -> None:
        while not has_ended():
            time.sleep(_POLL_SECONDS)
        _kill_this_process()

    Thread(target=watch, name="end-with-parent", daemon=True).start()


def _kill_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
