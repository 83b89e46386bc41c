"""Temporary folder for uploads, deleted when the server stops."""

import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PREFIX = "actionrec-uploads-"


class Uploads:
    """A temporary folder, locked while the server runs, so that other servers do not delete it."""

    def __init__(self) -> None:
        sweep()
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock = _locked(self.folder)

    @contextmanager
    def draft(self, suffix: str) -> Iterator[Path]:
        """Yield a path to write to, with a random name; the file is deleted afterwards."""
        self.folder.mkdir(mode=0o700, exist_ok=True)  # a clean-up of the system's temporary folder may have deleted it
        path = self.folder / f"{secrets.token_hex(8)}{suffix}"
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)


def sweep() -> None:
    """Delete the folders of killed servers; folders in use, and those of other users, stay."""
    for folder in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        if (lock := _locked(folder)) is not None:
            shutil.rmtree(folder, ignore_errors=True)
            os.close(lock)


def _locked(folder: Path) -> int | None:
    """A descriptor that holds a folder's lock; None if another process holds it, or we may not open the folder."""
    try:
        lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock
