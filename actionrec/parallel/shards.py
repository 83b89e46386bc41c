"""Work on shards that survives interruption.

A clip's shard is a hash of its id modulo a fixed number: a new clip changes one shard, and DVC never sees 200,000 small files.
Finished shards wait in .work/<stage>/<key>/ (`actionrec.parallel.shard_store`). The key is a digest of all that a shard is made
from. At the end the shards are hard-linked into the stage's output. They cannot wait there, since DVC deletes outputs before a
stage runs.

An engine makes the missing shards: processes of this machine, or with ACTIONREC_ENGINE=ray those of a Ray cluster. A shard's bytes
do not depend on the engine.

The store is bounded. The present run's shards stay. Other shards stay within twice those bytes, or 1 GiB if that is more; the
least recently used are removed first.
"""

import hashlib
import logging
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from actionrec.core import paths
from actionrec.core.progress import progress
from actionrec.io import machine
from actionrec.io.files import digest
from actionrec.parallel import engines, shard_store
from actionrec.parallel.shard_store import Compute, ShardJob

logger = logging.getLogger(__name__)


def code_digest(files: Iterable[str]) -> str:
    """Digest of source files, given as `__file__`: results of other code are not taken for this code's."""
    total = hashlib.sha256()
    for file in sorted(files):
        total.update(Path(file).read_bytes())
    return total.hexdigest()


def complete(
    stage: str, tasks: Sequence[ShardJob], compute: Compute, *, what: str, workers: int, device: str = "cpu"
) -> dict[str, Path]:
    """Make what is not there yet; return the folder of each task by name.

    Args:
        stage: names the folder below .work.
        compute: a function of a module (other processes import it by name).
        workers: processes of the local engine; 1 works in this one.
        device: where `compute` runs a network; Ray reserves GPUs by it.

    Raises:
        ActionrecError: a process was killed, or the engine cannot start. Whatever `compute` raises comes through. Finished shards
            are kept.
    """
    engine = machine.engine()
    place = paths.WORK / stage
    folders = {task.name: place / _key(task) for task in tasks}
    with shard_store.alone(place):
        missing = [task for task in tasks if not shard_store.is_whole(folders[task.name])]
        kept = sum(task.clips for task in tasks) - sum(task.clips for task in missing)
        if kept and missing:
            logger.info("%s: %d clips are there from an earlier run", what, kept)
        # The largest first, so that no process is left alone with a large one at the end.
        missing.sort(key=lambda task: (-task.clips, task.name))
        wanted = [(task, folders[task.name]) for task in missing]
        with progress(what, sum(task.clips for task in missing), "clip") as advance:
            if wanted and engine == "ray":
                engines.ray.make_all(compute, wanted, advance, device)
            elif workers == 1 or len(wanted) < 2:
                for task, folder in wanted:
                    shard_store.make(compute, task.job, folder, advance)
            else:
                engines.local.make_all(compute, wanted, advance, min(workers, len(wanted)))
        shard_store.keep_to_size(place, set(folders.values()))
    return folders


def _key(task: ShardJob) -> str:
    """A task's key, and what this machine's environment changes of the result."""
    arithmetic = machine.arithmetic()
    return digest({"key": task.key, "arithmetic": arithmetic}) if arithmetic else task.key


def link_into(draft: Path, files: Mapping[str, Path]) -> dict[str, str]:
    """Give each finished file a second name in the folder `draft`, or a copy where the file system has no hard links.

    Returns:
        SHA-256 of each by its name there.
    """
    for name, source in files.items():
        try:
            os.link(source, draft / name)
        except OSError:
            shutil.copyfile(source, draft / name)
    return {name: shard_store.recorded_sum(source) for name, source in files.items()}
