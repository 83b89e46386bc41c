"""Compute a stage's output in shards, so that an interrupted run continues with the missing shards.

Finished shards are stored in .work/<stage>/<key>/ (`actionrec.parallel.shard_store`). The key is a digest of everything that the
shard is computed from. At the end the shards are hard-linked into the stage's output. They cannot be stored there, since DVC
deletes outputs before a stage runs.

An engine computes the missing shards: worker processes of this machine, or of a Ray cluster if ACTIONREC_ENGINE is ray. A shard's
bytes do not depend on the engine.
"""

import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from actionrec.core import paths
from actionrec.core.progress import progress
from actionrec.io import machine
from actionrec.io.files import digest
from actionrec.parallel import engines, shard_store
from actionrec.parallel.engines.stream import ComputeAll
from actionrec.parallel.shard_store import Compute, ShardJob

logger = logging.getLogger(__name__)


def complete(
    stage: str,
    tasks: Sequence[ShardJob],
    compute: Compute,
    *,
    what: str,
    workers: int,
    device: str = "cpu",
    compute_all: ComputeAll | None = None,
) -> dict[str, Path]:
    """Compute the missing shards; return the folder of each shard by name.

    Args:
        stage: name of the folder below .work.
        compute: a function at the top level of a module, since other processes import it by name.
        what: name of the work, for the progress.
        workers: processes of the local engine; 1 computes in this process.
        device: the device that `compute` uses; with cuda, Ray reserves GPUs.
        compute_all: computes several shards without a pause between them; used instead of `compute` in this process.

    Raises:
        ActionrecError: a worker process died, or the engine cannot start. Errors that `compute` raises are raised here. Finished
            shards are kept.
    """
    engine = machine.engine()
    store = paths.WORK / stage
    folders = {task.name: store / _key(task) for task in tasks}
    with shard_store.alone(store):
        missing = [task for task in tasks if not shard_store.is_whole(folders[task.name])]
        reused = sum(task.clips for task in tasks) - sum(task.clips for task in missing)
        if reused and missing:
            logger.info("%s: %d clips are reused from an earlier run", what, reused)
        # The largest first, so that the run does not end with one process working on a large shard.
        missing.sort(key=lambda task: (-task.clips, task.name))
        pending = [(task, folders[task.name]) for task in missing]
        with progress(what, sum(task.clips for task in missing), "clip") as advance:
            if pending and engine == "ray":
                engines.ray.make_all(compute, pending, advance, device)
            elif pending and compute_all and (workers == 1 or len(pending) < 2):
                engines.stream.make_all(compute_all, pending, advance)
            elif workers == 1 or len(pending) < 2:
                for task, folder in pending:
                    shard_store.make(compute, task.job, folder, advance)
            else:
                engines.local.make_all(compute, pending, advance, min(workers, len(pending)))
        shard_store.keep_to_size(store, set(folders.values()))
    return folders


def _key(task: ShardJob) -> str:
    """The shard's key, extended by environment variables that change results."""
    arithmetic = machine.arithmetic()
    return digest({"key": task.key, "arithmetic": arithmetic}) if arithmetic else task.key


def link_into(draft: Path, files: Mapping[str, Path]) -> dict[str, str]:
    """Hard-link each finished file into the folder `draft`; copy it if the file system has no hard links.

    Returns:
        SHA-256 of each file by its new name.
    """
    for name, source in files.items():
        try:
            os.link(source, draft / name)
        except OSError:
            shutil.copyfile(source, draft / name)
    return {name: shard_store.recorded_sum(source) for name, source in files.items()}
