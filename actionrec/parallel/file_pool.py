"""The same work on many files, in processes: opening a video holds a lock, so that threads would take turns."""

import multiprocessing
import signal
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from actionrec.core import process_lifetime
from actionrec.core.errors import ActionrecError
from actionrec.core.progress import progress
from actionrec.io import machine

Job = TypeVar("Job")
Result = TypeVar("Result")


def each(work: Callable[[Job], Result], jobs: Sequence[Job], what: str, *, chunk: int) -> list[Result]:
    """Do `work` on each job, with progress; results are in the order of the jobs.

    Args:
        work: a function of a module (spawned processes import it by name).
        jobs: picklable; a few of them are done in this process.
        what: what is being done, for the progress.
        chunk: jobs that are worth a message to a process.

    Raises:
        ActionrecError: a process was killed.
    """
    with progress(what, len(jobs), "clip") as advance:
        workers = min(machine.workers(), len(jobs) // (2 * chunk))
        if workers < 2:
            return _collect(map(work, jobs), advance)
        # Spawned, as threads of OpenCV do not survive a fork.
        context = multiprocessing.get_context("spawn")
        pool = ProcessPoolExecutor(workers, context, initializer=_start_worker)
        try:
            with process_lifetime.binding_workers():  # the pool starts its processes as jobs come in
                results = pool.map(work, jobs, chunksize=chunk)
            return _collect(results, advance)
        except BrokenProcessPool:
            raise ActionrecError(
                "a worker process was killed, perhaps for want of memory: run again with fewer (ACTIONREC_WORKERS; "
                f"now {workers}). With ACTIONREC_WORKERS=1, a file that crashes the decoder ends the run by itself."
            ) from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _collect(results: Iterable[Result], advance: Callable[[int], None]) -> list[Result]:
    collected = []
    for result in results:
        collected.append(result)
        advance(1)
    return collected


def _start_worker() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent ends the pool, with one message
