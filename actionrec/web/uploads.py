"""Temporary folder for uploads, deleted when the server stops."""

import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from actionrec.core import file_lock

_PREFIX = "actionrec-uploads-"


class Uploads:
    """A temporary folder, locked while the server runs, so that other servers do not delete it."""

    def __init__(self) -> None:
        sweep()
        self.folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
        self._lock = file_lock.try_lock(self.folder)

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
    """Remove the folders of servers that were killed; others' folders, and those in use, stay."""
    for left in Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"):
        if (lock := file_lock.try_lock(left)) is not None:
            shutil.rmtree(left, ignore_errors=True)
            os.close(lock)
