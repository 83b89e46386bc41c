"""A Ray cluster: join it, its resources, machines that would compute other results, and how to leave it."""

import logging
import os
import socket
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from actionrec.core.errors import ActionrecError
from actionrec.io import machine
from actionrec.io.files import sha256_of
from actionrec.io.tar_member import ClipFile
from actionrec.parallel.shard_store import Inputs

logger = logging.getLogger(__name__)

RETRIES = 3
"""How often a task is repeated after its process or machine was lost."""
AHEAD = 2
"""Submitted tasks for each task that can run: enough to keep workers busy, few enough that their results fit in memory."""

_LIBRARIES = ("av", "numpy", "opencv-python-headless", "openvino", "torch", "torchvision")
_GRACE_SECONDS = 5.0


def device() -> str:
    """The device for networks, as `machine.device` chooses it, but from the cluster's GPUs. Ray assigns the GPU.

    Raises:
        ActionrecError: ACTIONREC_DEVICE is not a device, or a GPU but the cluster has none, or no cluster can be reached.
    """
    requested = machine.requested_device()
    if requested == "cpu":
        return requested
    connect()
    import ray

    if ray.cluster_resources().get("GPU", 0):
        return "cuda"
    if requested == "auto":
        return "cpu"
    raise ActionrecError(f"ACTIONREC_DEVICE is {requested}, but the Ray cluster has no GPU. Unset it, or use cpu.")


def connect() -> None:
    """Join the cluster that RAY_ADDRESS names, or start Ray on this machine, once."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    address = check()
    import ray

    if ray.is_initialized():
        return
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


def check() -> str:
    """The value of RAY_ADDRESS; "" if it is not set. This does not join the cluster.

    Raises:
        ActionrecError: Ray is not installed, or no cluster is there.
    """
    if find_spec("ray") is None:
        raise ActionrecError(
            "ACTIONREC_ENGINE is ray, which is not installed here. Install it, `pip install -r requirements-ray.txt`, "
            "or unset ACTIONREC_ENGINE."
        )
    address = os.environ.get("RAY_ADDRESS", "")
    if address and address not in ("auto", "local"):
        _refuse_address(address)
    return address


def _refuse_address(address: str) -> None:
    """Raise an error if nothing listens at the address. Ray itself would try for several minutes."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or "://" in address:
        raise ActionrecError(f"RAY_ADDRESS must be auto or <host>:<port>, on a machine of the cluster itself; got {address!r}")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_GRACE_SECONDS).close()
    except (OSError, OverflowError) as error:
        raise ActionrecError(f"no Ray cluster answers at RAY_ADDRESS {address} ({error}). Check it with `ray status`.") from None


def slots(gpus: float) -> int:
    """Number of tasks that can run at a time. It changes as machines join and leave."""
    import ray

    resources = ray.cluster_resources()
    cores = resources.get("CPU", 0)
    return int(min(cores, resources.get("GPU", 0) / gpus) if gpus else cores)


def log_size(task_count: int) -> None:
    """Log the number of machines, and of tasks at a time."""
    import ray

    logger.info("Ray: machines: %d, tasks at a time: %d", sum(node["Alive"] for node in ray.nodes()), task_count)


def leave(running: Mapping[Any, object]) -> None:
    """Cancel running tasks, so that workers remove their folders, and leave the cluster."""
    import ray

    if running:
        for reference in running:
            ray.cancel(reference)
        ray.wait(list(running), num_returns=len(running), timeout=_GRACE_SECONDS, fetch_local=False)
    ray.shutdown()


def refuse_other_machines(root: str, inputs: Inputs, libraries: Mapping[str, str | None]) -> None:
    """Raise an error if this machine would compute another result than the driver's machine."""
    this = f"the Ray worker on {socket.gethostname()}"
    share = "Share the project's folder, and the data set's, with all machines at the same path."
    for library, here in library_versions().items():
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


def library_versions() -> dict[str, str | None]:
    """Versions of the libraries that results depend on; None if not installed."""
    versions: dict[str, str | None] = {}
    for library in _LIBRARIES:
        try:
            versions[library] = version(library)
        except PackageNotFoundError:
            versions[library] = None
    return versions
