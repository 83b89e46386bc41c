"""Remembered hashes: the SHA-256 of files that have not changed since they were last hashed, in an SQLite file.

Like DVC, this takes a file as unchanged if its size, modification time and inode are the same. The change time must be the same,
too, because `cp -p` and `touch` can restore the modification time.
"""

import contextlib
import logging
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from itertools import chain
from pathlib import Path
from typing import TypeVar

from actionrec.core.progress import Advance
from actionrec.io import machine
from actionrec.io.files import sha256_of
from actionrec.io.tar_member import ClipFile, Status, TarMember

logger = logging.getLogger(__name__)

BATCH = 4096
"""Files that are looked up and saved together. An interrupted run repeats at most that many."""

SETTLED_SECONDS = 2.0
"""A file that changed more recently is not remembered: the next change may leave it with the same times."""

_TABLE = "CREATE TABLE IF NOT EXISTS hashes (file TEXT PRIMARY KEY, state TEXT NOT NULL, sha256 TEXT NOT NULL) WITHOUT ROWID"
_CHUNK = 16  # files per task
_LOCK_SECONDS = 30

Result = TypeVar("Result")

HashAll = Callable[[Sequence[ClipFile], Sequence[str]], Iterable[str]]
"""Gives the SHA-256 of each file, in their order. Its second argument is the `state_of` each file."""


def hash_files(
    files: Sequence[ClipFile], memory: Path | None, advance: Advance, hash_all: HashAll | None = None
) -> list[tuple[int, str]]:
    """Bytes and SHA-256 of each file, in the order of the files. Remembered files are not read.

    Args:
        memory: the SQLite file, which is created if it is missing; None remembers nothing.
        advance: called with a number of finished files.
        hash_all: hashes the other files; None hashes them on all cores of this machine.

    Raises:
        OSError: a file cannot be read; `filename` says which.
    """
    hashed: list[tuple[int, str]] = []
    with _opened(memory) as store, ThreadPoolExecutor(machine.workers()) as pool:  # hashing releases the GIL
        for start in range(0, len(files), BATCH):
            batch = files[start : start + BATCH]
            now = time.time_ns()
            statuses = list(_each(pool, lambda file: file.stat(), batch))
            keys = list(map(_key, batch, statuses))
            batch_digests = _look_up(store, keys)
            pending = [place for place, digest in enumerate(batch_digests) if not digest]
            advance(len(batch) - len(pending))
            unknown = [batch[place] for place in pending]
            digests = hash_all(unknown, [keys[place][1] for place in pending]) if hash_all else _each(pool, hash_file, unknown)
            for place, digest in zip(pending, digests, strict=True):
                batch_digests[place] = digest
                advance(1)
            settled = [place for place in pending if now - _changed(statuses[place]) > SETTLED_SECONDS * 1e9]
            store = _remember(store, [(*keys[place], batch_digests[place]) for place in settled])
            hashed += [(status.st_size, digest) for status, digest in zip(statuses, batch_digests, strict=True)]
    return hashed


def _each(pool: ThreadPoolExecutor, work: Callable[[ClipFile], Result], files: Sequence[ClipFile]) -> Iterator[Result]:
    """Run `work` on each file, a few files at a time: a task costs as much as hashing a small file."""
    chunks = [files[start : start + _CHUNK] for start in range(0, len(files), _CHUNK)]
    return chain.from_iterable(pool.map(lambda chunk: [work(file) for file in chunk], chunks))


def hash_file(file: ClipFile) -> str:
    """SHA-256 of a file.

    Raises:
        OSError: the file cannot be read; `filename` says which.
    """
    try:
        return sha256_of(file)
    except OSError as error:
        error.filename = error.filename or str(file)  # an error while reading has no name
        raise


def _key(file: ClipFile, status: os.stat_result | Status) -> tuple[str, str]:
    """A file's name in the table, and its state."""
    archive, start = (file.tar, f":{file.offset}") if isinstance(file, TarMember) else (file, "")
    return f"{os.path.abspath(archive)}{start}", state_of(status)  # noqa: PTH100 - resolving links would read every folder


def state_of(status: os.stat_result | Status) -> str:
    """What changes whenever a file's contents change. It is a text, because an inode can exceed SQLite's integers."""
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns} {status.st_ino}"


def _changed(status: os.stat_result | Status) -> int:
    return max(status.st_mtime_ns, status.st_ctime_ns)


@contextmanager
def _opened(memory: Path | None) -> Iterator[sqlite3.Connection | None]:
    """Open the table; None if it cannot be opened. A damaged file is replaced."""
    store = None
    if memory is not None:
        try:
            memory.parent.mkdir(parents=True, exist_ok=True)
            store = _connect(memory)
        except (OSError, sqlite3.Error) as error:
            logger.warning("%s cannot be used (%s), so the next run hashes all files again", memory, error)
    with closing(store) if store else contextlib.nullcontext():
        yield store


def _connect(memory: Path) -> sqlite3.Connection:
    try:
        return _open(memory)
    except sqlite3.DatabaseError as error:
        if isinstance(error, sqlite3.OperationalError):  # locked, or no permission
            raise
        logger.warning("%s is damaged (%s) and is started over", memory, error)
        memory.unlink()
        return _open(memory)


def _open(memory: Path) -> sqlite3.Connection:
    store = sqlite3.connect(memory, timeout=_LOCK_SECONDS)
    try:
        with store:
            store.execute(_TABLE)
    except sqlite3.Error:
        store.close()
        raise
    return store


def _look_up(store: sqlite3.Connection | None, keys: Sequence[tuple[str, str]]) -> list[str]:
    """The remembered hash of each file; empty if there is none."""
    if store is None:
        return [""] * len(keys)
    query = "SELECT sha256 FROM hashes WHERE file = ? AND state = ?"
    with contextlib.suppress(sqlite3.Error):  # damage in the middle of the file: hash again
        return [(store.execute(query, key).fetchone() or ("",))[0] for key in keys]
    return [""] * len(keys)


def _remember(store: sqlite3.Connection | None, rows: Sequence[tuple[str, str, str]]) -> sqlite3.Connection | None:
    """Save hashes; return the table, or None if it cannot be written."""
    if store is not None and rows:
        try:
            with store:
                store.executemany("INSERT OR REPLACE INTO hashes VALUES (?, ?, ?)", rows)
        except sqlite3.Error as error:
            logger.warning("hashes cannot be saved (%s), so the next run hashes these files again", error)
            return None
    return store
