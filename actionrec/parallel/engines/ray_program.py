"""Run a program of the project on a machine of a Ray cluster, as a Ray task.

The project's folder must be on a file system that all machines share, because the program reads and writes its files there. Its
output goes to a file beside the logs, from which the driver prints it. If the machine or a process is lost, Ray repeats the task,
maybe elsewhere; the program then continues from what it has saved. A program that fails by its own error is not repeated.
"""

import glob
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actionrec.core import file_lock, process_lifetime
from actionrec.core.errors import ActionrecError
from actionrec.io import machine
from actionrec.parallel.engines.ray_cluster import RETRIES, connect, device, leave, library_versions, refuse_other_machines

_POLL_SECONDS = 0.5
_GRACE_SECONDS = 3.0
_LOCK_SECONDS = 120.0
"""How long to wait for the lock of an earlier attempt. A file server may keep the lock of a lost machine for minutes."""
_KILLED = {-signal.SIGKILL, -signal.SIGTERM}


class ProgramKilledError(ActionrecError):
    """The program was killed, but not its worker process. Ray repeats the task."""


@dataclass(frozen=True)
class Program:
    """What a worker needs to know of a program."""

    name: str
    """For messages and the names of its files."""
    arguments: Sequence[str]
    """Of Python."""
    root: str
    """The project's folder, absolute; the program runs there."""
    output: Path
    """The file for the output, below `root`. The driver has created it: a machine without it does not share the folder."""
    lock: Path
    """Held while the program runs."""
    environment: dict[str, str]
    """Variables of the driver that the program gets."""


def run(name: str, arguments: Sequence[str], folder: Path, gpus: float) -> int:
    """Run `python <arguments>` on some machine; print its output on stderr; return its exit status.

    Args:
        name: for messages, and for the names of files in `folder`. No two programs of one name may run at a time.
        folder: for its output and lock, below the current folder.
        gpus: GPUs to reserve if the cluster has any and ACTIONREC_DEVICE allows them; a fraction shares one.

    Returns:
        The exit status; negative if it crashed by a signal, as in `subprocess`.

    Raises:
        ActionrecError: no cluster can be reached, a machine does not share the project's folder or has other libraries, or the
            task was lost too often.
    """
    connect()
    import ray

    chosen = device()
    cores, gpus = _cores(with_gpu=chosen != "cpu"), 0.0 if chosen == "cpu" else gpus
    output, lock = _create_files(folder, name)
    environment = _environment() | {"ACTIONREC_DEVICE": chosen}
    program = Program(name, arguments, str(Path.cwd()), output, lock, environment)
    remote = ray.remote(_run).options(
        name=name, num_cpus=cores, num_gpus=gpus, max_retries=RETRIES, retry_exceptions=[ProgramKilledError]
    )
    sys.stderr.write(f"{name}: waiting for a machine (cores: {cores}, GPUs: {gpus:g})\n")
    reference = remote.remote(program, library_versions())
    running = {reference: program}
    try:
        printed = 0
        while running:
            if ray.wait([reference], timeout=_POLL_SECONDS, fetch_local=False)[0]:
                running.clear()
            printed += _print_from(output, printed)
        return _status(reference, name)
    finally:
        leave(running)
        output.unlink(missing_ok=True)


def _cores(*, with_gpu: bool) -> int:
    """Cores for a training, or those of the largest machine if that has fewer: the task would wait forever."""
    import ray

    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    most = max((resources.get("CPU", 0) for resources in machines if resources.get("GPU", 0) or not with_gpu), default=0)
    return min(machine.TRAINING_THREADS, int(most) or machine.TRAINING_THREADS)


def _create_files(folder: Path, name: str) -> tuple[Path, Path]:
    """Create the files for the output and the lock. The first has a new name, which no machine finds in another folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(f"{glob.escape(name)}.*.out"):  # of a driver that was killed
        left.unlink(missing_ok=True)
    output, lock = folder / f"{name}.{secrets.token_hex(8)}.out", folder / f"{name}.lock"
    output.touch()
    lock.touch()
    return output, lock


def _environment() -> dict[str, str]:
    """This project's variables, those that change rounding, and DVC's: DVCLive writes other files outside a pipeline."""
    own = {name: text for name, text in os.environ.items() if name.startswith(("ACTIONREC_", "DVC_")) and name != "DVC_STAGE"}
    return own | machine.arithmetic()


def _print_from(output: Path, start: int) -> int:
    """Print what the file has from a byte on; return the number of bytes."""
    with output.open("rb") as stream:
        stream.seek(start)
        text = stream.read()
    sys.stderr.buffer.write(text)
    sys.stderr.flush()
    return len(text)


def _status(reference: Any, name: str) -> int:
    import ray

    advice = "Finished epochs are kept. Rerun to continue; if it is lost again, give the machines more memory."
    lost = f"{name} was lost {RETRIES + 1} times with its process or machine"
    try:
        status: int = ray.get(reference)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, ProgramKilledError):
            raise ActionrecError(f"{lost} ({error.cause}). {advice}") from None
        raise error.cause from (None if isinstance(error.cause, ActionrecError) else error)
    except ray.exceptions.RayError as error:
        reason = str(error).strip().split("\n", 1)[0]
        raise ActionrecError(f"{lost} ({reason}). {advice}") from None
    return status


# Code that runs on the workers.


def _run(program: Program, libraries: Mapping[str, str | None]) -> int:
    """Run the program to its end; return its exit status."""
    refuse_other_machines(program.root, {}, libraries)
    host = socket.gethostname()
    try:
        output = os.open(program.output, os.O_WRONLY | os.O_APPEND)
    except OSError as error:
        raise ActionrecError(
            f"the Ray worker on {host} does not share the project's folder: {error.strerror}: "
            f"{Path(program.root, program.output)}. Training on a cluster needs the project on a shared file system."
        ) from None
    try:
        lost = os.fstat(output).st_size > 0
        how = "runs again, since its machine or process was lost," if lost else "runs"
        os.write(output, f"{program.name}: {how} on {host}\n".encode())
        with _alone(program.lock) as locks:
            return _run_here(program, output, locks)
    finally:
        os.close(output)


@contextmanager
def _alone(path: Path) -> Iterator[list[int]]:
    """Hold the program's lock, so that an earlier attempt, which Ray takes for lost, does not write any more.

    Yields the lock's descriptor for the program, which may outlive this process for a moment; none if the wait was too long.
    """
    until = time.monotonic() + _LOCK_SECONDS
    while (lock := file_lock.try_lock(path)) is None and time.monotonic() < until:
        time.sleep(_POLL_SECONDS)
    try:
        yield [] if lock is None else [lock]
    finally:
        if lock is not None:
            os.close(lock)


def _run_here(program: Program, output: int, locks: Sequence[int]) -> int:
    with process_lifetime.binding_workers():
        environment = {name: text for name, text in os.environ.items() if name != "OMP_NUM_THREADS"}  # which Ray sets
        process = subprocess.Popen(
            [sys.executable, *program.arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment | program.environment,
            pass_fds=locks,
            process_group=0,
        )
    synced = 0
    try:
        while (status := process.poll()) is None:
            time.sleep(_POLL_SECONDS)
            if (size := os.fstat(output).st_size) != synced:
                os.fsync(output)  # otherwise a network file system shows it half a minute late
                synced = size
    finally:
        _stop(process)
    if status in _KILLED:
        raise ProgramKilledError(f"the program was killed (possibly out of memory) on {socket.gethostname()}")
    return status


def _stop(process: "subprocess.Popen[bytes]") -> None:
    """Interrupt the program if it runs, and kill it if it does not end; a second interrupt kills it at once."""
    process.send_signal(signal.SIGINT)  # does nothing if it has ended
    try:
        process.wait(_GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        pass
    finally:
        process.kill()
        process.wait()
