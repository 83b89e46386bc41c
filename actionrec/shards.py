"""Work on shards that survives interruption.

A clip's shard is a hash of its id modulo a fixed number, so that a new clip touches one shard, and 200,000 small files never
reach DVC. Finished shards wait in .work/<stage>/<key>/, keyed by all that they are made from, and are hard-linked into the
stage's output at the end: DVC deletes outputs before a stage runs, and these it does not know.
"""

import fcntl
import hashlib
import logging
import multiprocessing
import os
import shutil
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actionrec import machine, paths
from actionrec.errors import ActionrecError, DataError
from actionrec.files import read_json, sha256_of, whole_folder, write_json
from actionrec.progress import progress

logger = logging.getLogger(__name__)

_SUMS = "sha256.json"
_POLL_SECONDS = 0.5


def shard_of(clip_id: str, shard_count: int) -> int:
    """The shard of a clip, from 0, whatever other clips there are."""
    return int.from_bytes(hashlib.sha256(clip_id.encode()).digest()[:8], "big") % shard_count


def shard_name(number: int) -> str:
    """File name of a shard, without its suffix."""
    return f"shard-{number:04d}"


@dataclass(frozen=True)
class Task:
    """One shard to make."""

    name: str
    """For messages."""
    key: str
    """Digest of all that the shard is made from: contents, parameters, code."""
    clips: int
    """How many clips, for progress."""
    job: Any
    """What `compute` needs; picklable."""


Advance = Callable[[int], None]
Compute = Callable[[Any, Path, Advance], None]
"""Takes a job, an empty folder to fill with files, and a function that is told of clips done."""


def code_digest(files: Iterable[str]) -> str:
    """Digest of source files, given as `__file__`: results of other code are not taken for this code's."""
    total = hashlib.sha256()
    for file in sorted(files):
        total.update(Path(file).read_bytes())
    return total.hexdigest()


def complete(stage: str, tasks: Sequence[Task], compute: Compute, *, what: str, workers: int) -> dict[str, Path]:
    """Make what is not there yet, in processes of their own; return the folder of each task by name.

    Args:
        stage: names the folder below .work.
        compute: a function of a module (spawned processes import it by name).
        workers: processes; 1 works in this one.

    Raises:
        ActionrecError: a process was killed. Whatever `compute` raises comes through. Finished shards are kept.
    """
    store = paths.WORK / stage
    folders = {task.name: store / task.key for task in tasks}
    with _alone(store):
        missing = [task for task in tasks if not _is_whole(folders[task.name])]
        kept = sum(task.clips for task in tasks) - sum(task.clips for task in missing)
        if kept and missing:
            logger.info("%s: %d clips are there from an earlier run", what, kept)
        # The largest first, so that no process is left alone with a large one at the end.
        missing.sort(key=lambda task: (-task.clips, task.name))
        with progress(what, sum(task.clips for task in missing), "clip") as advance:
            if workers == 1 or len(missing) < 2:
                for task in missing:
                    _make(compute, task.job, folders[task.name], advance)
            else:
                _make_all(compute, [(task.job, folders[task.name]) for task in missing], advance, min(workers, len(missing)))
    return folders


def link_into(draft: Path, files: Mapping[str, Path]) -> None:
    """Give each file a second name in the folder `draft`, or a copy where the file system has no hard links."""
    for name, source in files.items():
        try:
            os.link(source, draft / name)
        except OSError:
            shutil.copyfile(source, draft / name)


def _make(compute: Compute, job: Any, folder: Path, advance: Advance) -> None:
    with whole_folder(folder) as draft:
        compute(job, draft, advance)
        write_json(draft / _SUMS, _sums(draft))


def _sums(folder: Path) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in sorted(folder.iterdir()) if path.name != _SUMS}


def _is_whole(folder: Path) -> bool:
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


def _make_all(compute: Compute, jobs: list[tuple[Any, Path]], advance: Advance, workers: int) -> None:
    context = multiprocessing.get_context("spawn")  # threads of torch and OpenCV do not survive a fork
    counter = context.Value("q", 0)
    pool = ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(counter, os.getpid()))
    reported = 0
    try:
        pending: set[Future[None]] = {pool.submit(_make_in_worker, compute, job, folder) for job, folder in jobs}
        while pending:
            done, pending = wait(pending, timeout=_POLL_SECONDS, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
            advance(counter.value - reported)
            reported = counter.value
    except BrokenProcessPool:
        raise ActionrecError(
            "a worker process was killed, perhaps for want of memory. Finished work is kept: run again, "
            f"or with fewer processes (ACTIONREC_WORKERS; now {workers})."
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_counter: Any = None  # of a worker process: the shared count of clips done


def _start_worker(counter: Any, parent: int) -> None:
    global _counter
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent ends the pool, with one message
    machine.die_with_parent()
    if os.getppid() != parent:  # it ended before the kernel was told
        os._exit(1)
    _counter = counter


def _make_in_worker(compute: Compute, job: Any, folder: Path) -> None:
    def advance(count: int) -> None:
        with _counter.get_lock():
            _counter.value += count

    _make(compute, job, folder, advance)


@contextmanager
def _alone(store: Path) -> Iterator[None]:
    """Hold the store's lock; wait while another run holds it."""
    store.mkdir(parents=True, exist_ok=True)
    with store.with_suffix(".lock").open("w") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            logger.info("waiting for another run that works in %s", store)
            fcntl.flock(stream, fcntl.LOCK_EX)
        # Drafts of runs that were killed; nobody else can be writing one now.
        for draft in store.glob(".*.draft"):
            shutil.rmtree(draft, ignore_errors=True)
        yield
