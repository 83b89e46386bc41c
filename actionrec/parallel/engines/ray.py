"""Compute shards in worker processes of a Ray cluster. Each shard is a Ray task, which takes a core and maybe a share of a GPU.

Only the driver, which is the stage, writes to the store; it holds the lock. A worker computes a shard in a temporary folder and
returns the files through Ray's object store. So only the inputs must exist on every machine, at the project's path. Ray sends the
code with the tasks. If a process or machine is lost, Ray repeats the task; the driver uses the first attempt that succeeds.
"""

import importlib
import io
import mmap
import os
import pickle
import shutil
import socket
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FunctionType
from typing import Any

from actionrec.core import file_lock
from actionrec.core.errors import ActionrecError
from actionrec.core.progress import Advance
from actionrec.parallel import shard_store
from actionrec.parallel.engines.ray_cluster import (
    AHEAD,
    RETRIES,
    connect,
    leave,
    library_versions,
    log_size,
    refuse_other_machines,
    slots,
)
from actionrec.parallel.engines.ray_cluster import device as device
from actionrec.parallel.shard_store import Compute, Inputs, ShardJob

GPU_SHARE = 0.25
"""Share of a GPU for a task that runs a network. While one task decodes frames on its core, others use the GPU."""

_POLL_SECONDS = 0.5

Contents = dict[str, pickle.PickleBuffer]
"""The bytes of a shard's files, by name."""


def make_all(compute: Compute, missing: Sequence[tuple[ShardJob, Path]], advance: Advance, device: str) -> None:
    """Compute each shard in its folder.

    Args:
        device: `cpu`, or `cuda` to give each task a share of a GPU.

    Raises:
        ActionrecError: no cluster can be reached, a machine does not see the inputs or has other libraries, or a shard was lost
            too often. Errors that `compute` raises are raised here.
    """
    connect()
    import ray

    gpus = 0.0 if device == "cpu" else GPU_SHARE
    remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(_make)
    progress_actor = _start_progress_actor()
    versions = library_versions()
    waiting, running = deque(missing), dict[Any, tuple[ShardJob, Path]]()
    finished = reported = 0
    done_of: Mapping[str, int] = {}
    log_size(slots(gpus))
    try:
        while waiting or running:
            while waiting and len(running) < AHEAD * max(1, slots(gpus)):
                task, folder = waiting.popleft()
                # Pickled by name, since Ray would pickle functions and classes of the main program by value.
                parcel = _pack((compute, task.job))
                for path in task.inputs:
                    path.stat()  # raises here, not in a worker, if the file is missing on this machine too
                reference = remote.remote(task.name, parcel, str(Path.cwd()), task.inputs, versions, progress_actor)
                running[reference] = task, folder
            ready, _ = ray.wait(list(running), timeout=_POLL_SECONDS, fetch_local=False)
            done_of = _read(progress_actor, done_of)
            for reference in ready:
                task, folder = running[reference]
                shard_store.make(_write, _fetch(reference, task, done_of), folder, lambda _: None)
                del running[reference]
                finished += task.clips
            now = finished + sum(min(done_of.get(task.name, 0), task.clips) for task, _ in running.values())
            if now > reported:  # a shard that is computed again starts from 0
                advance(now - reported)
                reported = now
    finally:
        leave(running)


def _fetch(reference: Any, task: ShardJob, done_of: Mapping[str, int]) -> Contents:
    import ray

    try:
        contents: Contents = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from (None if isinstance(error.cause, ActionrecError) else error)
    except ray.exceptions.RayError as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise ActionrecError(
            f"{task.name} was lost {RETRIES + 1} times with its process or machine ({reason}), most recently at "
            f"{task.at(done_of.get(task.name, 0))}. Finished work is kept. Rerun; if it is lost there again, fix or "
            "remove that clip, or give the machines more memory."
        ) from None
    return contents


def _write(contents: Contents, draft: Path, advance: Advance) -> None:
    for name, data in contents.items():
        with (draft / name).open("wb") as stream:
            stream.write(data)


# Progress of the tasks.


class _ProgressActor:
    """Ray actor to which workers report the number of finished clips of each shard."""

    def __init__(self) -> None:
        self.done_of: dict[str, int] = {}

    def note(self, name: str, done: int) -> None:
        self.done_of[name] = done

    def read(self) -> dict[str, int]:
        return self.done_of


def _start_progress_actor() -> Any:
    """Start the actor on the driver's machine, so that it does not end before the driver."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(_ProgressActor).options(num_cpus=0, scheduling_strategy=here).remote()


def _read(progress_actor: Any, before: Mapping[str, int]) -> Mapping[str, int]:
    """Read the actor's counts; return the previous ones if it does not answer at once."""
    import ray

    try:
        done_of: dict[str, int] = ray.get(progress_actor.read.remote(), timeout=_POLL_SECONDS)
    except ray.exceptions.RayError:
        return before
    return done_of


# Code that runs on the workers.


def _make(
    name: str, parcel: bytes, root: str, inputs: Inputs, libraries: Mapping[str, str | None], progress_actor: Any
) -> Contents:
    """Compute one shard.

    Args:
        parcel: `compute` and the job.
        root: the project's folder; paths are relative to it.
        inputs: the task's input files with the SHA-256 of each.
        libraries: the driver's versions.
    """
    last = time.monotonic()
    done = 0

    def advance(count: int) -> None:
        nonlocal done, last
        done += count
        if time.monotonic() - last > _POLL_SECONDS:
            last = time.monotonic()
            progress_actor.note.remote(name, done)

    progress_actor.note.remote(name, 0)
    refuse_other_machines(root, inputs, libraries)
    compute, job = pickle.loads(parcel)
    try:
        with _own_folder() as draft:
            compute(job, draft, advance)
            return {path.name: _contents(path) for path in sorted(draft.iterdir())}
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        raise ActionrecError(
            f"{name} on {socket.gethostname()}: {error.strerror}{where}. Fix this and rerun; finished work is kept."
        ) from error


@contextmanager
def _own_folder() -> Iterator[Path]:
    """Yield an empty temporary folder that is locked, and remove the folders of workers that were killed."""
    parent = Path(tempfile.gettempdir()) / f"actionrec-{os.getuid()}"
    parent.mkdir(mode=0o700, exist_ok=True)
    with file_lock.held(parent, str(parent)):  # no other worker removes the new folder before it is locked
        for folder in parent.iterdir():
            if (lock := file_lock.try_lock(folder)) is not None:
                shutil.rmtree(folder, ignore_errors=True)
                os.close(lock)
        folder = Path(tempfile.mkdtemp(dir=parent))
        lock = file_lock.try_lock(folder)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if lock is not None:
            os.close(lock)


def _contents(path: Path) -> pickle.PickleBuffer:
    """The bytes of a file, which may be removed afterwards. Ray copies them from the page cache, not from the heap."""
    if path.stat().st_size == 0:
        return pickle.PickleBuffer(b"")  # an empty file cannot be mapped
    with path.open("rb") as stream:
        return pickle.PickleBuffer(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))


# Pickling of functions and jobs.


def _pack(value: object) -> bytes:
    stream = io.BytesIO()
    _Pickler(stream, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
    return stream.getvalue()


class _Pickler(pickle.Pickler):
    """Pickles functions and classes of `__main__` by their module's name, such as `stages.extract_frames`."""

    def reducer_override(self, value: Any) -> Any:
        spec = getattr(sys.modules["__main__"], "__spec__", None)
        if spec and isinstance(value, (type, FunctionType)) and value.__module__ == "__main__":
            return _find, (spec.name, value.__qualname__)
        return NotImplemented


def _find(module: str, name: str) -> type | Callable[..., Any]:
    attribute: type | Callable[..., Any] = getattr(importlib.import_module(module), name)
    return attribute
