"""Run a function on many files in worker processes. Threads would take turns, since opening a video holds a lock."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar

from actionrec.core.errors import ActionrecError
from actionrec.core.progress import Advance, progress
from actionrec.core.text import quoted
from actionrec.io import machine
from actionrec.parallel import pool

Item = TypeVar("Item")
Result = TypeVar("Result")


def each(work: Callable[[Item], Result], items: Sequence[Item], description: str, *, chunk: int) -> list[Result]:
    """Run `work` on each item, with progress; return the results in the order of the items.

    Args:
        work: a function at the top level of a module, since spawned processes import it by name.
        items: picklable. A few of them are done in this process.
        description: for the progress, such as "Reading headers".
        chunk: items in a message to a worker process.

    Raises:
        ActionrecError: a worker process died. Errors that `work` raises are raised here.
    """
    with progress(description, len(items), "clip") as advance:
        workers = min(machine.workers(), len(items) // (2 * chunk))
        if workers < 2:
            return _run_chunk(work, items, advance)
        starts = range(0, len(items), chunk)
        jobs = ((start, items[start : start + chunk]) for start in starts)
        results: dict[int, list[Result]] = {}
        for outcome in pool.run(partial(_run_numbered_chunk, work), jobs, workers, advance):
            start, chunk_items = outcome.job
            if isinstance(outcome.error, pool.WorkerDiedError):
                place = quoted(chunk_items[min(outcome.progress, len(chunk_items) - 1)])
                raise ActionrecError(
                    f"{description}: {outcome.error} at {place}. Rerun with fewer processes "
                    f"(ACTIONREC_WORKERS; now {workers}). If it dies there again, fix or remove that clip."
                )
            results[start] = outcome.value()
        return [result for start in starts for result in results[start]]


def _run_chunk(work: Callable[[Item], Result], items: Sequence[Item], advance: Advance) -> list[Result]:
    results = []
    for item in items:
        results.append(work(item))
        advance(1)
    return results


def _run_numbered_chunk(work: Callable[[Item], Result], job: tuple[int, Sequence[Item]], advance: Advance) -> list[Result]:
    return _run_chunk(work, job[1], advance)
