"""Processes of a Ray cluster: a shard is a task, made on whatever machine has a free core or a share of a GPU.

The driver, which is the stage, alone writes: it holds the store and its lock. A worker makes a shard in a temporary folder of its
own and returns the files through Ray's object store, so that only what a task reads must be there on every machine, at the
project's path. The code travels with the tasks. Ray runs a task again whose process or machine was lost, and the driver takes a
shard once, from whichever attempt ends first.
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
from actionrec.parallel import shard_store
from actionrec.parallel.shard_store import Compute, ShardJob

logger = logging.getLogger(__name__)

RETRIES = 3
"""How often a shard is made again that was lost with its process or machine."""
GPU_SHARE = 0.25
"""Of a GPU, for a task that runs a network: while one decodes frames on its core, others compute."""
AHEAD = 2
"""Tasks handed to Ray for each that can run: enough that no worker waits, few enough that finished shards do not fill memory."""

_LIBRARIES = ("av", "numpy", "opencv-python-headless", "openvino", "torch", "torchvision")
_POLL_SECONDS = 0.5
_GRACE_SECONDS = 5.0

Contents = dict[str, pickle.PickleBuffer]
"""The bytes of a shard's files, by name."""


def device() -> str:
    """Where networks run: the rule of `machine.device`, over the cluster's GPUs instead of this machine's. Ray says which GPU.

    Raises:
        ActionrecError: ACTIONREC_DEVICE names no device, or a GPU while the cluster has none; no cluster can be reached.
    """
    wanted = machine.wanted_device()
    if wanted == "cpu":
        return wanted
    _connect()
    import ray

    if ray.cluster_resources().get("GPU", 0):
        return "cuda"
    if wanted == "auto":
        return "cpu"
    raise ActionrecError(f"ACTIONREC_DEVICE is {wanted}, but the Ray cluster has no GPU. Unset it, or use cpu.")


def make_all(compute: Compute, wanted: Sequence[tuple[ShardJob, Path]], advance: Advance, device: str) -> None:
    """Make each shard in its folder.

    Args:
        device: `cpu`, or `cuda` to run each task beside a share of a GPU.

    Raises:
        ActionrecError: no cluster can be reached, a machine does not see the inputs or has other libraries, or a shard was lost
            too often. Whatever `compute` raises comes through.
    """
    _connect()
    import ray

    gpus = 0.0 if device == "cpu" else GPU_SHARE
    remote = ray.remote(num_cpus=1, num_gpus=gpus, max_retries=RETRIES)(_make)
    board = _start_board()
    libraries = _libraries()
    waiting, running = deque(wanted), dict[Any, tuple[ShardJob, Path]]()
    finished = reported = 0
    done_of: Mapping[str, int] = {}
    machines = sum(node["Alive"] for node in ray.nodes())
    logger.info("Ray: machines: %d, tasks at a time: %d", machines, _slots(gpus))
    try:
        while waiting or running:
            while waiting and len(running) < AHEAD * max(1, _slots(gpus)):
                task, folder = waiting.popleft()
                # By names, since Ray would take apart what belongs to the program itself, such as the stage's job.
                parcel = _pack((compute, task.job))
                for path in task.inputs:
                    path.stat()  # what is not there on this machine either is no fault of a worker's
                reference = remote.remote(task.name, parcel, str(Path.cwd()), task.inputs, libraries, board)
                running[reference] = task, folder
            ready, _ = ray.wait(list(running), timeout=_POLL_SECONDS, fetch_local=False)
            done_of = _read(board, done_of)
            for reference in ready:
                task, folder = running[reference]
                shard_store.make(_write, _fetch(reference, task, done_of), folder, lambda _: None)
                del running[reference]
                finished += task.clips
            now = finished + sum(min(done_of.get(task.name, 0), task.clips) for task, _ in running.values())
            if now > reported:  # a shard that is made again starts again
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
            log_to_driver=False,  # what matters of the workers' output comes back as an exception
        )
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        what = f"no Ray cluster can be joined at {address}" if address else "Ray cannot be started on this machine"
        reason = str(error).strip().split("\n", 1)[0]
        raise ActionrecError(f"{what} ({reason}). Check RAY_ADDRESS and `ray status`, or unset ACTIONREC_ENGINE.") from None


def _refuse_address(address: str) -> None:
    """Refuse an address where nobody listens: Ray itself would try for several minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "://" in address:
        raise ActionrecError(f"RAY_ADDRESS must be auto or <host>:<port>, on a machine of the cluster itself; got {address!r}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_GRACE_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ActionrecError(f"no Ray cluster answers at RAY_ADDRESS {address} ({error}). Check it with `ray status`.") from None


def _slots(gpus: float) -> int:
    """How many tasks, each with a core and a share of a GPU, can run at a time; it changes as machines come and go."""
    import ray

    there = ray.cluster_resources()
    cores = there.get("CPU", 0)
    return int(min(cores, there.get("GPU", 0) / gpus) if gpus else cores)


def _fetch(reference: Any, task: ShardJob, done_of: Mapping[str, int]) -> Contents:
    import ray

    try:
        contents: Contents = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        raise error.cause from (None if isinstance(error.cause, ActionrecError) else error)
    except ray.exceptions.RayError as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise ActionrecError(
            f"{task.name} was lost {RETRIES + 1} times with its process or machine ({reason}), at last at "
            f"{task.at(done_of.get(task.name, 0))}. Finished work is kept: run again, and if it is lost there again, mend or "
            "remove that clip, or give the machines more memory."
        ) from None
    return contents


def _write(contents: Contents, draft: Path, advance: Advance) -> None:
    for name, data in contents.items():
        with (draft / name).open("wb") as stream:
            stream.write(data)


def _end(running: Mapping[Any, object]) -> None:
    """Call off what still runs, so that workers clear their folders, and leave the cluster."""
    import ray

    if running:
        for reference in running:
            ray.cancel(reference)
        ray.wait(list(running), num_returns=len(running), timeout=_GRACE_SECONDS, fetch_local=False)
    ray.shutdown()


# How far the tasks are.


class _Board:
    """An actor that workers tell how many clips of a shard are done."""

    def __init__(self) -> None:
        self.done_of: dict[str, int] = {}

    def note(self, name: str, done: int) -> None:
        self.done_of[name] = done

    def read(self) -> dict[str, int]:
        return self.done_of


def _start_board() -> Any:
    """Start the board on the driver's machine, which lives as long as it is read."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    return ray.remote(_Board).options(num_cpus=0, scheduling_strategy=here).remote()


def _read(board: Any, before: Mapping[str, int]) -> Mapping[str, int]:
    """Read the board; what was read before, where it does not answer at once."""
    import ray

    try:
        done_of: dict[str, int] = ray.get(board.read.remote(), timeout=_POLL_SECONDS)
    except ray.exceptions.RayError:
        return before
    return done_of


# What runs on the workers.


def _make(
    name: str, parcel: bytes, root: str, inputs: Mapping[Path, str], libraries: Mapping[str, str | None], board: Any
) -> Contents:
    """Make one shard.

    Args:
        parcel: `compute` and the job.
        root: the project's folder, which paths are relative to.
        inputs: the task's files and the SHA-256 of each.
        libraries: the driver's versions.
    """
    last = time.monotonic()
    done = 0

    def advance(count: int) -> None:
        nonlocal done, last
        done += count
        if time.monotonic() - last > _POLL_SECONDS:
            last = time.monotonic()
            board.note.remote(name, done)

    board.note.remote(name, 0)
    _refuse_other_machines(root, inputs, libraries)
    compute, job = pickle.loads(parcel)
    try:
        with _own_folder() as draft:
            compute(job, draft, advance)
            return {path.name: _contents(path) for path in sorted(draft.iterdir())}
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        raise ActionrecError(
            f"{name} on {socket.gethostname()}: {error.strerror}{where}. Mend that and run again; finished work is kept."
        ) from error


def _refuse_other_machines(root: str, inputs: Mapping[Path, str], libraries: Mapping[str, str | None]) -> None:
    """Refuse a machine that would make something else than the driver's."""
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
    for path, wanted in inputs.items():
        try:
            found = sha256_of(path)
        except OSError as error:
            raise ActionrecError(f"{this} cannot see an input: {error.strerror}: {Path(root, path)}. {share}") from None
        if found != wanted:
            raise ActionrecError(
                f"{this} sees other contents of {Path(root, path)} than the stage: SHA-256 {found[:12]}..., wanted "
                f"{wanted[:12]}.... {share} If the file was changed on all of them, `dvc repro` takes note of it."
            )


def _libraries() -> dict[str, str | None]:
    """Versions of what results depend on; None where it is not installed."""
    found: dict[str, str | None] = {}
    for library in _LIBRARIES:
        try:
            found[library] = version(library)
        except PackageNotFoundError:
            found[library] = None
    return found


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


# How functions and jobs travel.


def _pack(value: object) -> bytes:
    stream = io.BytesIO()
    _Pickler(stream, protocol=pickle.HIGHEST_PROTOCOL).dump(value)
    return stream.getvalue()


class _Pickler(pickle.Pickler):
    """Names what belongs to the program itself by its module's name: what is `__main__` here is `stages.extract_frames` there."""

    def reducer_override(self, value: Any) -> Any:
        spec = getattr(sys.modules["__main__"], "__spec__", None)
        if spec and isinstance(value, (type, FunctionType)) and value.__module__ == "__main__":
            return _find, (spec.name, value.__qualname__)
        return NotImplemented


def _find(module: str, name: str) -> type | Callable[..., Any]:
    found: type | Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found
