"""Store of finished shards, .work/<stage>/<key>/: written atomically, verified by checksums, limited in size.

The shards of the present run always stay. Others, of earlier parameters or removed clips, stay too, so that changing a parameter
back costs nothing. Together they may take twice the bytes of the present run's shards, or 1 GiB if that is more; the least recently
used are removed first. The modification time of a shard's folder is the time of its last use.
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
from actionrec.io.tar_member import ClipFile

logger = logging.getLogger(__name__)

SPARE = 2
"""Limit for unused shards, as a multiple of the bytes of used shards."""
SPARE_BYTES = 2**30
"""Bytes that unused shards may take in any case."""

_SUMS = "sha256.json"

Inputs = Mapping[Path, str] | Mapping[ClipFile, str]
"""File -> its SHA-256."""


@dataclass(frozen=True)
class ShardJob:
    """One shard to compute."""

    name: str
    """For messages."""
    key: str
    """Digest of everything that the shard is computed from: clip contents, parameters, code."""
    clips: int
    """Number of clips, for progress."""
    job: Any
    """Argument of `compute`; picklable."""
    inputs: Inputs = field(default_factory=dict)
    """The files that `compute` reads. Workers on other machines must see the same files."""
    clip_ids: Sequence[str] = ()
    """The clips in the order of the work, if known."""

    def at(self, done: int) -> str:
        """The clip that follows `done` finished clips, for messages.

        >>> ShardJob("shard-0001", "", 2, None, clip_ids=["Run/a.avi", "Run/b.avi"]).at(1)
        'Run/b.avi (clip 2 of 2 in shard-0001)'
        """
        position = f"clip {min(done + 1, self.clips)} of {self.clips} in {self.name}"
        return f"{self.clip_ids[done]} ({position})" if done < len(self.clip_ids) else position


Compute = Callable[[Any, Path, Advance], None]
"""Called with a job, an empty folder to fill with files, and the function that adds finished clips to the progress."""


def make(compute: Compute, job: Any, folder: Path, advance: Advance) -> None:
    """Compute one shard: write its folder with its files and their checksums, or nothing."""
    with whole_folder(folder) as draft:
        compute(job, draft, advance)
        write_json(draft / _SUMS, _sums(draft))


def is_whole(folder: Path) -> bool:
    """Whether a shard is finished and its files match their checksums."""
    if not folder.is_dir():
        return False
    try:
        if read_json(folder / _SUMS) == _sums(folder):
            return True
    except (OSError, DataError):
        pass
    logger.warning("%s is damaged and is recomputed", folder)
    return False


def recorded_sum(file: Path) -> str:
    """SHA-256 of a finished shard's file, as recorded when the file was written."""
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
    """Remove the drafts of killed processes. The caller holds the lock, so no other process is writing one."""
    for draft in store.glob(".*.draft"):
        shutil.rmtree(draft, ignore_errors=True)


def keep_to_size(store: Path, used: Collection[Path]) -> None:
    """Mark the shards `used` as used now, and remove the least recently used others beyond the limit. Call it under the lock."""
    for folder in used:
        os.utime(folder)
    free = max(SPARE * sum(map(_bytes, used)), SPARE_BYTES)
    others = [path for path in store.iterdir() if path.is_dir() and path not in used]
    removed = freed = 0
    for folder in sorted(others, key=lambda path: (path.stat().st_mtime_ns, path.name), reverse=True):
        size = _bytes(folder)
        if size <= free:
            free -= size
            continue
        free = 0  # older shards are removed too, even small ones
        draft = folder.with_name(f".{folder.name}.{os.getpid()}.draft")  # if the process is killed here, no partial shard remains
        folder.rename(draft)
        shutil.rmtree(draft, ignore_errors=True)
        removed, freed = removed + 1, freed + size
    if removed:
        logger.info("%s: removed the %d least recently used shards, %.1f MB", store, removed, freed / 1e6)


def _bytes(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
