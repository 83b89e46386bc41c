"""Hash files in worker processes of a Ray cluster, a few files per task.

A worker hashes a file only if it has the same size, times and inode as on the driver's machine, as on a shared file system. The
driver hashes all others, so hashes and errors are those of the local engine.
"""

import logging
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from actionrec.core.text import first_few
from actionrec.io import machine
from actionrec.io.files import sha256_of
from actionrec.io.hash_memory import HashAll, hash_file, state_of
from actionrec.io.tar_member import ClipFile, TarMember
from actionrec.parallel.engines.ray_cluster import AHEAD, RETRIES, connect, leave, log_size, slots

logger = logging.getLogger(__name__)

FILES_PER_TASK = 64
LEAST_FILES = 512
"""Fewer files are hashed on this machine, because joining a cluster takes some seconds."""

Running = dict[Any, Sequence[ClipFile]]
"""Reference of a Ray task -> its files. The first submitted is the first."""


@contextmanager
def hashing() -> Iterator[HashAll]:
    """Yield the function that hashes files. It joins the cluster when it first has many files.

    The function raises:
        ActionrecError: no cluster can be reached.
        OSError: a file cannot be read; `filename` says which.
    """
    running: Running = {}
    hashed_here: list[ClipFile] = []
    joined = False
    with ThreadPoolExecutor(machine.workers()) as pool:

        def hash_all(files: Sequence[ClipFile], states: Sequence[str]) -> Iterator[str]:
            nonlocal joined
            if not joined and len(files) < LEAST_FILES:
                yield from pool.map(hash_file, files)
                return
            if not joined:
                connect()
                joined = True
                log_size(slots(0))
            for chunk, digests in _on_cluster(files, states, running):
                missing = [file for file, digest in zip(chunk, digests, strict=True) if digest is None]
                hashed_here.extend(missing)
                local_digests = pool.map(hash_file, missing)
                yield from (next(local_digests) if digest is None else digest for digest in digests)

        try:
            yield hash_all
        finally:
            if joined:
                leave(running)
    if hashed_here:
        listed = first_few([str(file) for file in hashed_here])
        logger.warning("hashed on this machine only, since others do not have the same file at its path: %s", listed)


def _on_cluster(
    files: Sequence[ClipFile], states: Sequence[str], running: Running
) -> Iterator[tuple[Sequence[ClipFile], Sequence[str | None]]]:
    """Yield the files of each task, in their order, with their hashes; None where the worker does not see the same file."""
    import ray

    remote = ray.remote(num_cpus=1, max_retries=RETRIES)(_hash_chunk)
    limit = AHEAD * max(1, slots(0))  # asked once, since an answer takes as long as a task
    starts = iter(range(0, len(files), FILES_PER_TASK))
    while True:
        while len(running) < limit and (start := next(starts, None)) is not None:
            chunk = files[start : start + FILES_PER_TASK]
            running[remote.remote([_absolute(file) for file in chunk], states[start : start + FILES_PER_TASK])] = chunk
        if not running:
            return
        reference, chunk = next(iter(running.items()))
        try:
            digests: Sequence[str | None] = ray.get(reference)
        except ray.exceptions.RayTaskError as error:
            raise error.cause from error
        except ray.exceptions.RayError:  # lost too often
            digests = [None] * len(chunk)
        del running[reference]
        yield chunk, digests


def _absolute(file: ClipFile) -> ClipFile:
    return replace(file, tar=Path.cwd() / file.tar) if isinstance(file, TarMember) else Path.cwd() / file


# Code that runs on the workers.


def _hash_chunk(files: Sequence[ClipFile], states: Sequence[str]) -> list[str | None]:
    return [_hash(file, state) for file, state in zip(files, states, strict=True)]


def _hash(file: ClipFile, state: str) -> str | None:
    """SHA-256 of a file; None if it cannot be read, or is another file than the driver's."""
    try:
        return sha256_of(file) if state_of(file.stat()) == state else None
    except OSError:
        return None
