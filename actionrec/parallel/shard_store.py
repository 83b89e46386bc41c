"""Finished shards that wait in .work/<stage>/<key>/: whole or absent, checked by their sums, bounded in size.

What the present run uses always stays. Shards that it does not use, of earlier parameters or of clips that are gone, stay too, so
that a parameter changed and changed back finds them again, but together at most at twice the bytes of the present run's, or 1 GiB
where that is more; those that no run has used for the longest time go first. The time of a shard's folder is its last use.
"""

import logging
import os
import shutil
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actionrec.core import file_lock
from actionrec.core.errors import DataError
from actionrec.core.progress import Advance
from actionrec.io.files import read_json, sha256_of, whole_folder, write_json

logger = logging.getLogger(__name__)

SPARE = 2
"""Unused shards may take so many times the bytes of the used ones, ..."""
SPARE_BYTES = 2**30
"""... and in any case so much."""

_SUMS = "sha256.json"


@dataclass(frozen=True)
class ShardJob:
    """One shard to make."""

    name: str
    """For messages."""
    key: str
    """Digest of all that the shard is made from: contents, parameters, code."""
    clips: int
    """How many clips, for progress."""
    job: Any
    """What `compute` needs; picklable."""
    inputs: Mapping[Path, str] = field(default_factory=dict)
    """The files that `compute` reads, and the SHA-256 of each: workers on other machines must see the same."""
    clip_ids: Sequence[str] = ()
    """The clips in the order of the work, where that is known beforehand."""

    def at(self, done: int) -> str:
        """Where the work is when so many clips are done, for messages.

        >>> Task("shard-0001", "", 2, None, clip_ids=["Run/a.avi", "Run/b.avi"]).at(1)
        'Run/b.avi (clip 2 of 2 in shard-0001)'
        """
        place = f"clip {min(done + 1, self.clips)} of {self.clips} in {self.name}"
        return f"{self.clip_ids[done]} ({place})" if done < len(self.clip_ids) else place


Compute = Callable[[Any, Path, Advance], None]
"""Takes a job, an empty folder to fill with files, and a function that is told of clips done."""


def make(compute: Compute, job: Any, folder: Path, advance: Advance) -> None:
    """Make one shard: its folder with its files and their sums, or nothing."""
    with whole_folder(folder) as draft:
        compute(job, draft, advance)
        write_json(draft / _SUMS, _sums(draft))


def is_whole(folder: Path) -> bool:
    """Tell whether a finished shard is there and unharmed: a cut or flipped byte makes it again."""
    if not folder.is_dir():
        return False
    try:
        if read_json(folder / _SUMS) == _sums(folder):
            return True
    except (OSError, DataError):
        pass
    logger.warning("%s is damaged and is made again", folder)
    return False


def recorded_sum(file: Path) -> str:
    """SHA-256 of a finished shard's file, as it was noted when the file was made."""
    sums: dict[str, str] = read_json(file.parent / _SUMS)
    return sums[file.name]


def _sums(folder: Path) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in sorted(folder.iterdir()) if path.name != _SUMS}


@contextmanager
def alone(store: Path) -> Iterator[None]:
    """Hold the store's lock; wait while another run holds it."""
    store.mkdir(parents=True, exist_ok=True)
    with file_lock.held(store.with_suffix(".lock"), f"another run that works in {store}"):
        _remove_drafts(store)
        try:
            yield
        finally:
            _remove_drafts(store)


def _remove_drafts(store: Path) -> None:
    """Remove what killed processes left; under the lock, no other process is writing a draft."""
    for draft in store.glob(".*.draft"):
        shutil.rmtree(draft, ignore_errors=True)


def keep_to_size(store: Path, used: Collection[Path]) -> None:
    """Note that the shards `used` are in use, and remove the longest unused others beyond what may stay. Wants the lock."""
    for folder in used:
        os.utime(folder)
    room = max(SPARE * sum(map(_bytes, used)), SPARE_BYTES)
    others = [path for path in store.iterdir() if path.is_dir() and path not in used]
    removed = freed = 0
    for folder in sorted(others, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True):
        size = _bytes(folder)
        if size <= room:
            room -= size
            continue
        room = 0  # what is older goes too, even where it is small: the order of use decides
        draft = folder.with_name(f".{folder.name}.{os.getpid()}.draft")  # a run killed here leaves no half shard
        folder.rename(draft)
        shutil.rmtree(draft, ignore_errors=True)
        removed, freed = removed + 1, freed + size
    if removed:
        logger.info("%s: the %d longest unused shards are removed, %.1f MB", store, removed, freed / 1e6)


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
