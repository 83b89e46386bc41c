"""Make shards in worker processes of this machine."""

from collections.abc import Sequence
from functools import partial
from itertools import takewhile
from pathlib import Path

from actionrec.core.errors import ActionrecError
from actionrec.core.progress import Advance
from actionrec.parallel import pool, shard_store
from actionrec.parallel.shard_store import Compute, ShardJob


def make_all(compute: Compute, missing: Sequence[tuple[ShardJob, Path]], advance: Advance, workers: int) -> None:
    """Make each shard in its folder. After an error no further shard is started, but those in work are finished.

    Raises:
        ActionrecError: a worker process died. Errors that `compute` raises are raised here.
    """
    errors: list[Exception] = []
    jobs = takewhile(lambda _: not errors, missing)
    for outcome in pool.run(partial(_make, compute), jobs, workers, advance):
        if isinstance(outcome.error, pool.WorkerDiedError):
            place = outcome.job[0].at(outcome.progress)
            errors.append(ActionrecError(f"{place}: {outcome.error}. {_advice(outcome.error, workers)}"))
        elif outcome.error:
            errors.append(outcome.error)
    if errors:
        raise errors[0]


def _advice(error: pool.WorkerDiedError, workers: int) -> str:
    if error.crashed:
        return "Finished work is kept. Rerun; if it crashes there again, fix or remove that clip."
    return f"Finished work is kept. Rerun, or use fewer processes (ACTIONREC_WORKERS; now {workers})."


def _make(compute: Compute, job: tuple[ShardJob, Path], advance: Advance) -> None:
    shard, folder = job
    shard_store.make(compute, shard.job, folder, advance)
