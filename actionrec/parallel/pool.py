"""A pool of worker processes. A job that fails, or whose process dies, does not stop the other jobs.

`concurrent.futures` gives up all jobs when one process dies, and cannot end a process that is running a job.
"""

import contextlib
import multiprocessing
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Generic, TypeVar, cast

from actionrec.core import process_lifetime
from actionrec.core.errors import ActionrecError
from actionrec.core.progress import Advance

Job = TypeVar("Job")
Result = TypeVar("Result")

_CRASHES = {signal.SIGSEGV, signal.SIGBUS, signal.SIGABRT, signal.SIGILL, signal.SIGFPE}


class WorkerDiedError(ActionrecError):
    """A worker process was killed or crashed while it ran a job."""

    def __init__(self, status: int) -> None:
        self.crashed = -status in _CRASHES
        if self.crashed:
            how = f"crashed ({signal.Signals(-status).name})"
        else:
            how = "was killed (possibly out of memory)" if status < 0 else f"ended with exit status {status}"
        super().__init__(f"the worker process {how}")


@dataclass(frozen=True)
class Outcome(Generic[Job, Result]):
    """How a job ended."""

    job: Job
    result: Result | None
    """What `work` returned; None if the job failed."""
    error: Exception | None
    """What `work` raised, or WorkerDiedError; None on success. An unexpected error has the worker's traceback as a note."""
    progress: int
    """Sum of the counts that the job reported by `advance`."""

    @property
    def reason(self) -> str:
        """Why the job failed, for people; "" if it succeeded."""
        if self.error is None or isinstance(self.error, ActionrecError):
            return str(self.error or "")
        return f"{type(self.error).__name__}: {self.error}"

    def value(self) -> Result:
        """The result; raises the error of a failed job."""
        if self.error:
            raise self.error
        return cast(Result, self.result)


@dataclass
class _Worker:
    process: SpawnProcess
    connection: Connection
    job: Any = None
    progress: int = 0


def run(
    work: Callable[[Job, Advance], Result], jobs: Iterable[Job], workers: int, advance: Advance
) -> Iterator[Outcome[Job, Result]]:
    """Run `work` on each job in worker processes; yield each outcome as soon as its job ends.

    All processes have ended when the iterator is exhausted or closed, or raises an exception such as KeyboardInterrupt.

    Args:
        work: a function at the top level of a module, since spawned processes import it by name.
        jobs: picklable. They start in this order; each is taken only when a worker is free.
        workers: processes to start.
        advance: called in this process with each count that `work` reports.
    """
    waiting = iter(jobs)
    idle = [_start_worker(work) for _ in range(workers)]
    busy: dict[Connection, _Worker] = {}
    try:
        while True:
            while idle and (following := next(waiting, _NO_JOB)) is not _NO_JOB:
                worker = idle.pop()
                worker.job, worker.progress = following, 0
                busy[worker.connection] = worker
                with contextlib.suppress(OSError):  # the process has died, which `_receive` reports
                    worker.connection.send(following)
            if not busy:
                return
            for connection in wait(list(busy)):
                worker = busy[connection]  # type: ignore[index]
                message = _receive(worker)
                if not isinstance(message, tuple):
                    worker.progress += message
                    advance(message)
                    continue
                result, error = message
                del busy[worker.connection]
                idle.append(_start_worker(work) if isinstance(error, WorkerDiedError) else worker)
                yield Outcome(worker.job, result, error, worker.progress)
    finally:
        processes = [worker.process for worker in (*idle, *busy.values())]
        for process in processes:
            process.kill()
        for process in processes:
            process.join()


_NO_JOB: Any = object()


def _start_worker(work: Callable[[Any, Advance], Any]) -> _Worker:
    context = multiprocessing.get_context("spawn")  # threads of torch and OpenCV do not survive a fork
    connection, worker_side = context.Pipe()
    process = context.Process(target=_run_jobs, args=(worker_side, work), daemon=True)
    with process_lifetime.binding_workers():
        process.start()
    worker_side.close()  # otherwise this process would not see that the worker's side is closed
    return _Worker(process, connection)


def _receive(worker: _Worker) -> int | tuple[Any, Exception | None]:
    """A count of progress, or a job's result and error."""
    try:
        message: int | tuple[Any, Exception | None] = worker.connection.recv()
    except (EOFError, OSError):
        worker.process.join()
        return None, WorkerDiedError(worker.process.exitcode or 0)
    return message


def _run_jobs(connection: Connection, work: Callable[[Any, Advance], Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all processes; the parent kills this one

    def send(message: object) -> None:
        try:
            connection.send(message)
        except BrokenPipeError:  # the parent has ended
            sys.exit(1)

    with contextlib.suppress(EOFError):  # the parent has ended
        while True:
            job = connection.recv()
            answer: tuple[Any, Exception | None]
            try:
                answer = work(job, send), None
            except Exception as error:
                answer = None, _picklable(error)
            send(answer)


def _picklable(error: Exception) -> Exception:
    """The error, or a RuntimeError with its text if it cannot be sent. An unexpected error gets its traceback as a note."""
    text = traceback.format_exc()
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        error = RuntimeError(f"{type(error).__name__}: {error}")
    if not isinstance(error, ActionrecError):
        error.add_note(f"In the worker process:\n{text}")
    return error
