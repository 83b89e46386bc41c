"""Compute shards in worker processes of a Ray cluster. Each shard is a Ray task, which takes a core and maybe a share of a GPU.

Only the driver, which is the stage, writes to the store; it holds the lock. A worker computes a shard in a temporary folder and
returns the files through Ray's object store. So only the inputs must exist on every machine, at the project's path. Ray sends the
code with the tasks. If a process or machine is lost, Ray repeats the task; the driver uses the first attempt that succeeds.
"""

import importlib
import io
import logging
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
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import FunctionType
from typing import Any

from actionrec.core import file_lock
from actionrec.core.errors import ActionrecError
from actionrec.core.progress import Advance
from actionrec.io import machine
from actionrec.io.files import sha256_of
from actionrec.io.tar_member import ClipFile
from actionrec.parallel import shard_store
from actionrec.parallel.shard_store import Compute, Inputs, ShardJob

logger = logging.getLogger(__name__)

RETRIES = 3
"""How often a shard is computed again after its process or machine was lost."""
GPU_SHARE = 0.25
"""Share of a GPU for a task that runs a network. While one task decodes frames on its core, others use the GPU."""
AHEAD = 2
"""Submitted tasks for each task that can run: enough to keep workers busy, few enough that finished shards fit in memory."""

_LIBRARIES = ("av", "numpy", "opencv-python-headless", "openvino", "torch", "torchvision")
_POLL_SECONDS = 0.5
_GRACE_SECONDS = 5.0

Contents = dict[str, pickle.PickleBuffer]
"""The bytes of a shard's files, by name."""


def device() -> str:
    """The device for networks, as `machine.device` chooses it, but from the cluster's GPUs. Ray assigns the GPU.

    Raises:
        ActionrecError: ACTIONREC_DEVICE is not a device, or a GPU but the cluster has none, or no cluster can be reached.
    """
    requested = machine.requested_device()
    if requested == "cpu":
        return requested
    _connect()
    import ray

    if ray.cluster_resources().get("GPU", 0):
        return "cuda"
    if requested == "auto":
        return "cpu"
    raise ActionrecError(f"ACTIONREC_DEVICE is {requested}, but the Ray cluster has no GPU. Unset it, or use cpu.")


def make_all(compute: Compute, missing: Sequence[tuple[ShardJob, Path]], advance: Advance, device: str) -> None:
    """Compute each shard in its folder.

    Args:
        device: `cpu`, or `cuda` to give each task a share of a GPU.

    Raises:
        ActionrecError: no cluster can be reached, a machine does not see the inputs or has other libraries, or a shard was lost
            too often. Errors that `compute` raises are raised here.
    """
    _connect()
    import ray

    gpus = 0.0 if device == "cpu" else GPU_SHARE
    remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(_make)
    progress_actor = _start_progress_actor()
    libraries = _libraries()
    waiting, running = deque(missing), dict[Any, tuple[ShardJob, Path]]()
    finished = reported = 0
    done_of: Mapping[str, int] = {}
    machines = sum(node["Alive"] for node in ray.nodes())
    logger.info("Ray: machines: %d, tasks at a time: %d", machines, _slots(gpus))
    try:
        while waiting or running:
            while waiting and len(running) < AHEAD * max(1, _slots(gpus)):
                task, folder = waiting.popleft()
                # Pickled by name, since Ray would pickle functions and classes of the main program by value.
                parcel = _pack((compute, task.job))
                for path in task.inputs:
                    path.stat()  # raises here, not in a worker, if the file is missing on this machine too
                reference = remote.remote(task.name, parcel, str(Path.cwd()), task.inputs, libraries, progress_actor)
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
        _end(running)


def _connect() -> None:
    """Join the cluster that RAY_ADDRESS names, or start Ray on this machine, once."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    try:
        import ray
    except ImportError:
        raise ActionrecError(
            "ACTIONREC_ENGINE is ray, which is not installed here. Install it, `pip install -r requirements-ray.txt`, "
            "or unset ACTIONREC_ENGINE."
        ) from None
    if ray.is_initialized():
        return
    address = os.environ.get("RAY_ADDRESS", "")
    if address and address not in ("auto", "local"):
        _refuse_address(address)
    code = Path(__file__).parents[3]
    runtime_env = {
        "py_modules": [str(code / "actionrec"), str(code / "stages")],
        "env_vars": {name: text for name, text in os.environ.items() if name.startswith("ACTIONREC_")} | machine.arithmetic(),
    }
    try:
        ray.init(
            address or "local",
            num_cpus=None if address else machine.workers(),
            include_dashboard=None if address else False,
            runtime_env=runtime_env,
            logging_level=logging.ERROR,
            log_to_driver=False,  # errors of the workers come back as exceptions
        )
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        what = f"no Ray cluster can be joined at {address}" if address else "Ray cannot be started on this machine"
        reason = str(error).strip().split("\n", 1)[0]
        raise ActionrecError(f"{what} ({reason}). Check RAY_ADDRESS and `ray status`, or unset ACTIONREC_ENGINE.") from None


def _refuse_address(address: str) -> None:
    """Raise an error if nothing listens at the address. Ray itself would try for several minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "://" in address:
        raise ActionrecError(f"RAY_ADDRESS must be auto or <host>:<port>, on a machine of the cluster itself; got {address!r}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_GRACE_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ActionrecError(f"no Ray cluster answers at RAY_ADDRESS {address} ({error}). Check it with `ray status`.") from None


def _slots(gpus: float) -> int:
    """Number of tasks that can run at a time. It changes as machines join and leave."""
    import ray

    resources = ray.cluster_resources()
    cores = resources.get("CPU", 0)
    return int(min(cores, resources.get("GPU", 0) / gpus) if gpus else cores)


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


def _end(running: Mapping[Any, object]) -> None:
    """Cancel running tasks, so that workers remove their folders, and leave the cluster."""
    import ray

    if running:
        for reference in running:
            ray.cancel(reference)
        ray.wait(list(running), num_returns=len(running), timeout=_GRACE_SECONDS, fetch_local=False)
    ray.shutdown()


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
    _refuse_other_machines(root, inputs, libraries)
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


def _refuse_other_machines(root: str, inputs: Inputs, libraries: Mapping[str, str | None]) -> None:
    """Raise an error if this machine would compute another result than the driver's machine."""
    this = f"the Ray worker on {socket.gethostname()}"
    share = "Share the project's folder, and the data set's, with all machines at the same path."
    for library, here in _libraries().items():
        if here != libraries[library]:
            raise ActionrecError(
                f"{this} has {library} {here}, the driver {libraries[library]}. Install the same requirements-ray.txt on both."
            )
    try:
        os.chdir(root)
    except OSError as error:
        raise ActionrecError(f"{this} cannot see the project: {error.strerror}: {root}. {share}") from None
    for path, expected in inputs.items():
        try:
            actual = sha256_of(path)
        except OSError as error:
            raise ActionrecError(f"{this} cannot see an input: {error.strerror}: {_absolute(root, path)}. {share}") from None
        if actual != expected:
            raise ActionrecError(
                f"{this} sees other contents of {_absolute(root, path)} than the stage: SHA-256 {actual[:12]}..., expected "
                f"{expected[:12]}.... {share} If the file changed on all machines, rerun `dvc repro`."
            )


def _absolute(root: str, file: ClipFile) -> Path:
    return Path(root, str(file))


def _libraries() -> dict[str, str | None]:
    """Versions of the libraries that results depend on; None if not installed."""
    versions: dict[str, str | None] = {}
    for library in _LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            versions[library] = None
    return versions


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
    found: type | Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found
