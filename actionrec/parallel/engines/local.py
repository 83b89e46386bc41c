"""Processes of this machine, one a core."""

import multiprocessing
import os
import signal
from collections.abc import Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from actionrec.core import process_lifetime
from actionrec.core.errors import ActionrecError, first_few
from actionrec.parallel import shard_store
from actionrec.parallel.shard_store import Advance, Compute, ShardJob

_POLL_SECONDS = 0.5


def make_all(compute: Compute, wanted: Sequence[tuple[ShardJob, Path]], advance: Advance, workers: int) -> None:
    """Make each shard in its folder.

    Raises:
        ActionrecError: a process was killed. Whatever `compute` raises comes through.
    """
    context = multiprocessing.get_context("spawn")  # threads of torch and OpenCV do not survive a fork
    # Clips done and the process at work, of each shard: written by that process alone, so no lock.
    done_of, process_of = (context.RawArray("q", len(wanted)) for _ in range(2))
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(done_of, process_of))
    processes: set[BaseProcess] = set()
    reported = 0
    try:
        with process_lifetime.binding_workers():  # the pool starts its processes as jobs come in
            pending: set[Future[None]] = {
                pool.submit(_make_in_worker, compute, task.job, folder, number) for number, (task, folder) in enumerate(wanted)
            }
        processes = set(multiprocessing.active_children()) - before
        while pending:
            done, pending = wait(pending, timeout=_POLL_SECONDS, return_when=FIRST_EXCEPTION)
            for future in done:
                future.result()
            now = sum(done_of)
            advance(now - reported)
            reported = now
    except BrokenProcessPool:
        pool.shutdown(wait=True, cancel_futures=True)  # so that every process has its exit status
        at_work = {process_of[number]: task.at(done_of[number]) for number, (task, _) in enumerate(wanted) if process_of[number]}
        raise ActionrecError(_reason(at_work, processes, workers)) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _reason(at_work: dict[int, str], processes: set[BaseProcess], workers: int) -> str:
    """Say which process died of what, and where.

    Args:
        at_work: where each process was, by its number.
    """
    # The pool ends the others with SIGTERM.
    died = {process.pid: -process.exitcode for process in processes if process.exitcode and process.exitcode != -signal.SIGTERM}
    places = [place for process, place in at_work.items() if process in died] or list(at_work.values())
    crashes = sorted({signal.Signals(number).name for number in died.values() if number in _CRASHES})
    kept = "Finished work is kept: run again, "
    if crashes:
        cause = f"crashed ({', '.join(crashes)})"
        advice = "and if it crashes there again, mend or remove that clip."
    else:
        cause = "was killed, perhaps for want of memory,"
        advice = f"or with fewer processes (ACTIONREC_WORKERS; now {workers})."
    return f"a worker process {cause} at {first_few(places)}. {kept}{advice}"


_CRASHES = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE}

_done_of: Any = None  # of a worker process: see make_all
_process_of: Any = None


def _start_worker(done_of: Any, process_of: Any) -> None:
    global _done_of, _process_of
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent ends the pool, with one message
    _done_of, _process_of = done_of, process_of


def _make_in_worker(compute: Compute, job: Any, folder: Path, number: int) -> None:
    def advance(count: int) -> None:
        _done_of[number] += count

    _process_of[number] = os.getpid()
    try:
        shard_store.make(compute, job, folder, advance)
    finally:
        _process_of[number] = 0
