"""Train the models side by side: one `dvc repro` a model, under DVC's own locks.

`dvc.lock` then records the same as after training them one by one; only new models may stand in another order. The output of a
model's training goes to .work/train-all/<model>.log. With ACTIONREC_ENGINE=ray, DVC runs here, and the training itself on a machine
of the cluster.
"""

import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, NoReturn

from ruamel.yaml import YAML

from actionrec.core import file_lock, process_lifetime
from actionrec.core.errors import ActionrecError, DataError, TrainingError
from actionrec.evaluation.study_results import RESULTS
from actionrec.io import machine
from actionrec.parallel.engines import ray_cluster
from actionrec.parallel.progress_table import RUNNING, ProgressTable
from actionrec.pipeline import cluster_shell, dvc_process

logger = logging.getLogger(__name__)

LOGS = cluster_shell.LOGS
SHELL = LOGS / "run-on-cluster"
PIPELINE = Path("dvc.yaml")
BEFORE = ("split", "resnet_features")
"""The stages whose outputs training reads. DVC also runs the stages before them."""

# Without this option, DVC waits 3 s for another process's lock, then fails and discards a finished stage.
_DVC = (*dvc_process.DVC, "--wait-for-lock")
_POLL_SECONDS = 0.1
_GRACE_SECONDS = 10.0
_TAIL_LINES = 15


@dataclass(frozen=True)
class TrainingProcess:
    """A running `dvc repro` of one model."""

    model: str
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> Path:
        return log_file(self.model)

    @property
    def printed(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


def default_jobs() -> int:
    """Number of models to train at a time: one for each two cores, or two on a GPU, whose memory they share.

    On a cluster it is all of them: Ray starts as many as have room, and the others wait.

    A model always trains with two threads, because its weights depend on the number of threads. Training two models on two cores
    is slower than training them one by one (docs/performance.md).
    """
    if machine.engine() == "ray" and ray_cluster.check() not in ("", "local"):
        return len(models())
    return 2 if machine.device() != "cpu" else max(1, machine.cores() // machine.TRAINING_THREADS)


def models() -> list[str]:
    """The models that dvc.yaml trains, in its order.

    Raises:
        DataError: dvc.yaml is missing in the current folder.
    """
    try:
        document: Any = YAML(typ="safe", pure=True).load(PIPELINE)
    except FileNotFoundError:
        raise DataError(f"{PIPELINE} is missing. Run from the project's root.") from None
    return list(document["stages"]["train"]["foreach"])


def log_file(model: str) -> Path:
    """The output of a model's last training."""
    return LOGS / f"{model}.log"


def train_all(jobs: int, gpus: float = 1.0) -> None:
    """Bring the stages before training up to date, then train every model that changed, `jobs` at a time.

    Args:
        gpus: GPUs for a model on a Ray cluster that has any; a fraction shares a GPU between models.

    Raises:
        TrainingError: models failed; the others are trained.
        ActionrecError: an earlier stage failed, another train-all is running here, or DVC's lock file is unreadable and in use.
        KeyboardInterrupt: Ctrl-C, SIGTERM or SIGHUP. All processes that it started have ended.
    """
    names = models()
    with _alone(), _ending_by_interrupt():
        dvc_process.remove_unreadable_lock()
        prepare()
        table = ProgressTable(sorted(names, key=_seconds, reverse=True))
        try:
            failed = run_all(table, changed(names), jobs, _environment(gpus))
        except KeyboardInterrupt:
            trained = table.in_state("done", "restored", "unchanged")
            logger.info("%d of %d models are trained. Run the same command to train the others.", len(trained), len(names))
            raise
    if failed:
        listed = "\n".join(f"  {model}: {why} (see {log_file(model)})" for model, why in failed.items())
        others = len(names) - len(failed)
        rest = {0: "", 1: "The other model is trained. "}.get(others, f"The other {others} models are trained. ")
        raise TrainingError(f"{len(failed)} of {len(names)} models failed:\n{listed}\n{rest}Fix this and rerun.")


def _seconds(model: str) -> float:
    """Training time on the study's GPU, for the order. A model that the study does not have starts first."""
    return RESULTS[model].train_seconds if model in RESULTS else float("inf")


def prepare() -> None:
    """Run the changed stages before training, with their output on the terminal.

    Raises:
        ActionrecError: it failed.
    """
    process = _start([*_DVC, "repro", *BEFORE], sys.stderr.fileno(), dvc_process.environment())
    try:
        status = process.wait()
    finally:
        _stop([process])
    if status:
        raise ActionrecError(f"a stage before training failed, so nothing was trained. Fix this (`dvc repro {' '.join(BEFORE)}`).")


def changed(names: Sequence[str]) -> set[str]:
    """The models that `dvc repro` would train or restore.

    Raises:
        ActionrecError: `dvc status` failed.
    """
    command = [*_DVC, "status", "--json", *map(stage_of, names)]
    done = subprocess.run(command, env=dvc_process.environment(), stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise ActionrecError("`dvc status` failed, so nothing was trained. Fix this and rerun.")
    stages = json.loads(done.stdout)
    return {name for name in names if stage_of(name) in stages}


def stage_of(model: str) -> str:
    """DVC's name of the stage that trains a model."""
    return f"train@{model}"


def _environment(gpus: float) -> dict[str, str]:
    """The environment for DVC while it trains."""
    environment = dvc_process.environment()
    if machine.engine() == "ray":
        cluster_shell.write(SHELL, gpus)
        environment["SHELL"] = str(SHELL.absolute())
    return environment


def run_all(table: ProgressTable, models: Collection[str], jobs: int, environment: dict[str, str]) -> dict[str, str]:
    """Train those of the table's models that are in `models`, `jobs` at a time; return why models failed, by model."""
    waiting, running = [model for model in table.rows if model in models], list[TrainingProcess]()
    for model in table.rows:
        if model not in models:
            table.change(model, "unchanged")
    failed: dict[str, str] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(start(waiting[0], environment))
                table.change(waiting.pop(0), RUNNING)
            time.sleep(_POLL_SECONDS)
            for run in running.copy():
                if run.process.poll() is None:
                    table.note(run.model, last_report(run.model, run.printed))
                    continue
                running.remove(run)
                if run.process.returncode:
                    failed[run.model] = reason(run.printed, run.process.returncode)
                    table.change(run.model, "failed", failed[run.model])
                else:
                    result = last_report(run.model, run.printed)
                    # A training reports its result. Without one, DVC restored the model from its run cache.
                    table.change(run.model, "done" if result else "restored", result)
            table.refresh()
    finally:
        _stop([run.process for run in running])
    for model in failed:
        tail = log_file(model).read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
        logger.info("\n%s, the end of %s:\n  %s", model, log_file(model), "\n  ".join(tail))
    return failed


def start(model: str, environment: dict[str, str]) -> TrainingProcess:
    """Start one model's training."""
    with log_file(model).open("wb") as log:
        return TrainingProcess(model, _start([*_DVC, "repro", "--single-item", stage_of(model)], log.fileno(), environment))


def last_report(model: str, printed: str) -> str:
    """The last line that the stage printed about the training: its progress, and at the end its result."""
    reports = re.findall(rf"^(?:Training )?{model}: (.*)$", printed, re.MULTILINE)
    return reports[-1] if reports else ""


def reason(printed: str, status: int) -> str:
    """Why training failed, in one line: the stage's own error message, else the last line of the output."""
    lines = [line for line in printed.splitlines() if line.strip()]
    errors = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    return (errors or lines or [f"exit status {status}"])[-1]


def _start(command: Sequence[str], output: int, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    """Start a program in a process group of its own. Ctrl-C does not reach it, so this process must end it."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=environment,
        process_group=0,
        preexec_fn=partial(_in_child, os.getpid()),  # safe, since this process has no other threads
    )


def _in_child(parent: int) -> None:
    process_lifetime.end_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a background job of a shell ignores SIGINT, and its children would too


def _stop(processes: Collection[subprocess.Popen[bytes]]) -> None:
    """Interrupt programs and their children, wait, and kill those still running; a second Ctrl-C kills at once."""
    processes = [process for process in processes if process.poll() is None]
    _signal_all(processes, signal.SIGINT)
    deadline = time.monotonic() + _GRACE_SECONDS
    try:
        for process in processes:
            process.wait(max(0.0, deadline - time.monotonic()))
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        logger.info("killing processes that did not end")
    finally:
        _signal_all(processes, signal.SIGKILL)
        for process in processes:
            process.wait()


def _signal_all(processes: Collection[subprocess.Popen[bytes]], which: signal.Signals) -> None:
    for process in processes:
        try:
            os.killpg(process.pid, which)
        except (ProcessLookupError, PermissionError):  # it has ended, and its ID may belong to another user's process now
            continue


@contextmanager
def _ending_by_interrupt() -> Iterator[None]:
    """Treat SIGTERM and SIGHUP like Ctrl-C."""

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    before = {which: signal.signal(which, interrupt) for which in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    try:
        yield
    finally:
        for which, handler in before.items():
            signal.signal(which, handler)


@contextmanager
def _alone() -> Iterator[None]:
    """Hold the lock of the logs' folder.

    Raises:
        ActionrecError: another run holds it.
    """
    LOGS.mkdir(parents=True, exist_ok=True)
    lock_file = LOGS.with_suffix(".lock")
    lock_file.touch()
    if (lock := file_lock.try_lock(lock_file)) is None:
        raise ActionrecError("another train-all is running in this folder. Wait until it ends, or stop it.")
    try:
        yield
    finally:
        os.close(lock)
