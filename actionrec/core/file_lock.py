"""Locks on files and folders between processes. The system releases a lock when its process ends, however it ends."""

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

logger = logging.getLogger(__name__)


@contextmanager
def held(path: Path, holder: str) -> Iterator[None]:
    """Hold the lock of a file, created if missing, or of a folder; wait while another process holds it.

    Args:
        holder: the other process, for the log, such as "another run that works in .work/frames".
    """
    if (lock := _lock_or_create(path)) is None:
        logger.info("waiting for %s", holder)
        while (lock := _lock_or_create(path, wait=True)) is None:
            pass  # the other process removed or renamed the file
    try:
        yield
    finally:
        os.close(lock)


def try_lock(path: Path) -> int | None:
    """Lock a file or folder; return the descriptor that releases the lock when closed.

    Returns None if another process holds the lock, or if `path` is missing, a symlink, or cannot be read.
    """
    try:
        return _lock(_open(path, os.O_NOFOLLOW), path)
    except OSError:
        return None


def _lock_or_create(path: Path, *, wait: bool = False) -> int | None:
    return _lock(_open(path, 0 if path.is_dir() else os.O_CREAT), path, wait=wait)


def _open(path: Path, flags: int) -> int:
    """Open a file for writing, since NFS locks no other files. Folders and read-only files can only be opened for reading."""
    try:
        return os.open(path, os.O_RDWR | flags, 0o666)
    except (IsADirectoryError, PermissionError):
        return os.open(path, os.O_RDONLY | flags, 0o666)


def _lock(descriptor: int, path: Path, *, wait: bool = False) -> int | None:
    """Lock an open file; close it and return None if that fails, or if `path` is another file by now."""
    with ExitStack() as stack:
        stack.callback(os.close, descriptor)
        with suppress(BlockingIOError, FileNotFoundError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                stack.pop_all()
                return descriptor
    return None
