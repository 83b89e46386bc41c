"""End a process together with its parent: a killed `dvc repro` leaves nobody writing. Linux only; elsewhere, children go on."""

import ctypes
import os
import select
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

_STAGE = "DVC_STAGE"  # DVC sets it for a stage's command, not for itself
_PARENT = "ACTIONREC_PARENT"


def end_with_parent(parent: int) -> None:
    """Have the kernel kill this process when its parent ends.

    Args:
        parent: process ID of the parent, which may have ended before the kernel was told.
    """
    if sys.platform == "linux":
        pr_set_pdeathsig = 1
        ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


@contextmanager
def binding_workers() -> Iterator[None]:
    """Let the worker processes that are started in this block end with this process, from their first import on.

    A worker imports the stage and its libraries before it does anything else, which takes seconds. The first of these imports is
    that of the package itself, which calls `end_if_bound`.
    """
    os.environ[_PARENT] = str(os.getpid())
    try:
        yield
    finally:
        del os.environ[_PARENT]


def end_if_bound() -> None:
    """Bind this process to its parent if that started it in `binding_workers`."""
    if parent := os.environ.pop(_PARENT, ""):
        end_with_parent(int(parent))


def end_with_dvc() -> None:
    """Kill this process when the `dvc` that runs it as a stage ends; does nothing where none does.

    DVC starts a stage in a shell, $SHELL or /bin/sh. Some, such as bash, become the stage; others, such as dash, which is
    /bin/sh in Debian's containers, stay between the two, so that the end of DVC is not the end of the stage's parent.
    """
    if sys.platform != "linux" or _STAGE not in os.environ:
        return
    parent = os.getppid()
    end_with_parent(parent)
    try:
        dvc = _dvc(parent)
        if os.getsid(dvc) != os.getsid(0):  # DVC had ended, and this is who adopts what others leave
            _kill_this_process()
        if dvc == parent:
            return
        ended = os.pidfd_open(dvc)
    except ProcessLookupError:
        _kill_this_process()
    except (OSError, AttributeError):  # a kernel before 5.3, a sandbox, or a Python built without it
        return
    Thread(target=_wait_and_kill, args=(ended,), name="end-with-dvc", daemon=True).start()


def _dvc(process: int) -> int:
    """The nearest of a process and its ancestors that is not of the stage, as the shell and its like are."""
    own = f"{_STAGE}={os.environ[_STAGE]}".encode()
    while own in _read(process, "environ").split(b"\0"):
        process = int(_read(process, "stat").rpartition(b")")[2].split()[1])
    return process


def _read(process: int, name: str) -> bytes:
    try:
        return Path(f"/proc/{process}/{name}").read_bytes()
    except PermissionError:  # another user's
        return b""
    except FileNotFoundError:
        raise ProcessLookupError from None


def _wait_and_kill(ended: int) -> None:
    select.select([ended], [], [])
    _kill_this_process()


def _kill_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
