"""Hash files on the cores of this machine, or of a Ray cluster if ACTIONREC_ENGINE is ray. The hashes are the same."""

from collections.abc import Sequence
from pathlib import Path

from actionrec.core.progress import Advance
from actionrec.io import hash_memory, machine
from actionrec.io.tar_member import ClipFile
from actionrec.parallel.engines import ray_hashing


def hash_files(files: Sequence[ClipFile], memory: Path | None, advance: Advance) -> list[tuple[int, str]]:
    """Bytes and SHA-256 of each file, in the order of the files. Remembered files are not read.

    Args:
        memory, advance: see `hash_memory.hash_files`.

    Raises:
        OSError: a file cannot be read; `filename` says which.
        ActionrecError: ACTIONREC_ENGINE is invalid, or no cluster can be reached.
    """
    if machine.engine() == "local":
        return hash_memory.hash_files(files, memory, advance)
    with ray_hashing.hashing() as hash_all:
        return hash_memory.hash_files(files, memory, advance, hash_all)
