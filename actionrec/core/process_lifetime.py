"""End a process together with its parent, so that a killed `dvc repro` leaves no process that still writes.

On Linux the kernel kills the process at once. Elsewhere, a thread waits for the end of the parent.
"""

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Thread

_STAGE = "DVC_STAGE"  # DVC sets it for a stage's command, not for itself
_PARENT = "ACTIONREC_PARENT"


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
    which is /bin/sh in Debian, stay between the two, so that DVC can end without the stage's parent.
    """
    if _STAGE not in os.environ:
        return
    import psutil  # here: it takes longer to load than this package, and only stages need it

    parent = os.getppid()
    _end_this_program_with_parent(parent)
    try:
        dvc = _dvc(parent)
        if os.getsid(dvc) != os.getsid(0):  # DVC has ended, and this is the process that adopts orphans
            _kill_this_process()
        if dvc != parent:
            _end_with(dvc)
    except (psutil.NoSuchProcess, ProcessLookupError):
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
        _end_with(parent)


def _dvc(process: int) -> int:
    """The nearest of a process and its ancestors that does not belong to the stage, as the shells do."""
    import psutil

    try:
        while psutil.Process(process).environ().get(_STAGE) == os.environ[_STAGE]:
            process = psutil.Process(process).ppid()
    except psutil.AccessDenied:  # another user's
        pass
    return process


def _end_with(process: int) -> None:
    """Kill this process as soon as another one ends."""
    import psutil

    def watch() -> None:
        with suppress(psutil.NoSuchProcess):
            psutil.Process(process).wait()
        _kill_this_process()

    Thread(target=watch, name="end-with-process", daemon=True).start()


def _kill_this_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
