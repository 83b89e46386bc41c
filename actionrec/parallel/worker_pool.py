"""Long jobs in processes of their own, of which some may fail: a failure is told, and the other jobs go on.

`concurrent.futures` gives up all jobs when one process dies, as for want of memory, and cannot end one that is at work.
"""

import contextlib
import multiprocessing
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, TypeVar

from actionrec.core import process_lifetime
from actionrec.core.errors import ActionrecError

Job = TypeVar("Job")
Advance = Callable[[int], None]


def each(work: Callable[[Job, Advance], None], jobs: Sequence[Job], workers: int, advance: Advance) -> Iterator[tuple[Job, str]]:
    """Do `work` on each job, one a process at a time; yield each finished job with why it failed, or "" where it did not.

    All processes have ended when the iterator is exhausted or closed, or an exception such as Ctrl-C comes in between.

    Args:
        work: a function of a module (spawned processes import it by name); it is given a job and `advance`.
        jobs: picklable; started in this order.
        advance: told here of the progress that `work` tells of.
    """
    waiting = list(reversed(jobs))
    busy: dict[Connection, tuple[SpawnProcess, Job]] = {}
    idle = [_hire(work) for _ in range(min(workers, len(jobs)))]
    try:
        while waiting or busy:
            while waiting and idle:
                connection, process = idle.pop()
                job = waiting.pop()
                busy[connection] = process, job
                with contextlib.suppress(OSError):  # it was killed: there is no answer but the end of the connection
                    connection.send(job)
            for connection in [one for one in wait(list(busy)) if isinstance(one, Connection)]:
                process, job = busy[connection]
                try:
                    said: int | str = connection.recv()
                except (EOFError, OSError):  # OSError: it had not read its job yet, or not said all it had to say
                    process.join()
                    idle.append(_hire(work))
                    said = f"its process was killed (exit status {process.exitcode}), perhaps for want of memory"
                else:
                    if isinstance(said, str):
                        idle.append((connection, process))
                if isinstance(said, int):
                    advance(said)
                else:
                    del busy[connection]
                    yield job, said
    finally:
        everyone = [process for _, process in idle] + [process for process, _ in busy.values()]
        for process in everyone:
            process.kill()
        for process in everyone:
            process.join()


def _hire(work: Callable[[Any, Advance], None]) -> tuple[Connection, SpawnProcess]:
    context = multiprocessing.get_context("spawn")  # threads of torch do not survive a fork
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, work), daemon=True)
    with process_lifetime.binding_workers():
        process.start()
    theirs.close()  # or the end of the process would go unseen
    return ours, process


def _serve(connection: Connection, work: Callable[[Any, Advance], None]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches all; the parent ends this process
    while True:
        job = connection.recv()
        try:
            work(job, connection.send)
        except ActionrecError as error:
            connection.send(str(error))
        except Exception as error:  # a defect, which keeps its traceback; the other jobs go on
            sys.stderr.write(traceback.format_exc())
            connection.send(f"{type(error).__name__}: {error}")
        else:
            connection.send("")
