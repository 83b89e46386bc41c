"""Training the models side by side: one `dvc repro` a model, under DVC's own locks.

What DVC knows afterwards is what a run of one after the other leaves, `dvc.lock` to the byte. What a model prints goes to
.work/train-all/<model>.log.
"""

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

from actionrec.core import file_lock, paths, process_lifetime
from actionrec.core.errors import ActionrecError, DataError, TrainingError
from actionrec.evaluation.study_results import RESULTS
from actionrec.io import machine
from actionrec.io.files import write_text
from actionrec.parallel.progress_table import RUNNING, ProgressTable
from actionrec.pipeline import dvc_process

logger = logging.getLogger(__name__)

LOGS = paths.WORK / "train-all"
PIPELINE = Path("dvc.yaml")
LOCK = Path("dvc.lock")
BEFORE = ("split", "resnet_features")
"""The stages whose outputs training reads; DVC knows what comes before them."""

# Without this option DVC gives up after 3 s on another process's lock, and throws a finished stage away.
_DVC = (*dvc_process.DVC, "--wait-for-lock")
_POLL_SECONDS = 0.1
_GRACE_SECONDS = 10.0
_TAIL_LINES = 15
# DVC's words for what it did instead of training.
_SKIPPED = {"didn't change, skipping": "unchanged", "is cached - skipping run": "restored"}


@dataclass(frozen=True)
class TrainingProcess:
    """One model in training."""

    model: str
    process: subprocess.Popen[bytes]

    @property
    def log(self) -> Path:
        return log_file(self.model)

    @property
    def printed(self) -> str:
        return self.log.read_text(encoding="utf-8", errors="replace")


def default_jobs() -> int:
    """How many to train at a time: as many as have cores for their threads, or two on a GPU, whose memory they share.

    Each has the two threads that it has when it is trained alone, as its weights depend on their number. Two models on two cores
    are slower than one after the other (docs/performance.md).
    """
    return 2 if machine.device() != "cpu" else max(1, machine.cores() // machine.TRAINING_THREADS)


def models() -> list[str]:
    """The models that dvc.yaml trains, in its order.

    Raises:
        DataError: there is no dvc.yaml here.
    """
    try:
        document: Any = YAML(typ="safe", pure=True).load(PIPELINE)
    except FileNotFoundError:
        raise DataError(f"{PIPELINE} is missing. Run from the project's root.") from None
    return list(document["stages"]["train"]["foreach"])


def log_file(model: str) -> Path:
    """What the last training of a model printed."""
    return LOGS / f"{model}.log"


def train_all(jobs: int) -> None:
    """Bring the stages before training up to date, then train every model that is not, `jobs` at a time.

    Raises:
        TrainingError: models failed; the others are trained.
        ActionrecError: an earlier stage failed, or another run is at work here, or DVC's lock file is unreadable and in use.
        KeyboardInterrupt: Ctrl-C, or the process was told to end. Everything it started has ended.
    """
    names = models()
    with _alone(), _ending_by_interrupt():
        dvc_process.remove_unreadable_lock()
        prepare()
        known = set(_locked_stages())
        board = ProgressTable(sorted(names, key=_seconds, reverse=True))
        try:
            failed = run_all(board, jobs)
        except KeyboardInterrupt:
            kept = board.in_state("done", "restored", "unchanged")
            logger.info("%d of %d models are trained and stay so; the same command goes on from here", len(kept), len(names))
            raise
        finally:
            _put_in_order([stage for name in names if (stage := f"train@{name}") not in known])
    if failed:
        listed = "\n".join(f"  {model}: {why} (see {log_file(model)})" for model, why in failed.items())
        others = len(names) - len(failed)
        rest = {0: "", 1: "The other is trained. "}.get(others, f"The other {others} are trained. ")
        raise TrainingError(f"{len(failed)} of {len(names)} models failed:\n{listed}\n{rest}Mend that, and run this again.")


def _seconds(model: str) -> float:
    """For the order, longest first: on the study's GPU. A model that it does not have is taken to be long."""
    return RESULTS[model].train_seconds if model in RESULTS else float("inf")


def prepare() -> None:
    """Run what is out of date of the stages before training, in full view.

    Raises:
        ActionrecError: it failed.
    """
    process = _start([*_DVC, "repro", *BEFORE], sys.stderr.fileno())
    try:
        status = process.wait()
    finally:
        _stop([process])
    if status:
        raise ActionrecError(f"a stage before training failed, so nothing was trained. Mend it (`dvc repro {' '.join(BEFORE)}`).")


def run_all(board: ProgressTable, jobs: int) -> dict[str, str]:
    """Train the models on the board, from the first on, `jobs` at a time; return why models failed, by model."""
    waiting, running = list(board.rows), list[TrainingProcess]()
    failed: dict[str, str] = {}
    try:
        while waiting or running:
            while waiting and len(running) < jobs:
                running.append(start(waiting[0]))
                board.change(waiting.pop(0), RUNNING)
            time.sleep(_POLL_SECONDS)
            for run in running.copy():
                if run.process.poll() is None:
                    board.note(run.model, last_words(run.model, run.printed))
                    continue
                running.remove(run)
                if run.process.returncode:
                    failed[run.model] = reason(run.printed, run.process.returncode)
                    board.change(run.model, "failed", failed[run.model])
                else:
                    board.change(run.model, outcome(run.printed), last_words(run.model, run.printed))
            board.refresh()
    finally:
        _stop([run.process for run in running])
    for model in failed:
        tail = log_file(model).read_text(encoding="utf-8", errors="replace").splitlines()[-_TAIL_LINES:]
        logger.info("\n%s, the end of %s:\n  %s", model, log_file(model), "\n  ".join(tail))
    return failed


def start(model: str) -> TrainingProcess:
    """Start one model's training."""
    with log_file(model).open("wb") as log:
        return TrainingProcess(model, _start([*_DVC, "repro", "--single-item", f"train@{model}"], log.fileno()))


def outcome(printed: str) -> str:
    """What DVC did for a model that did not fail: done, unchanged, or restored (trained earlier, found in the run cache)."""
    return next((state for words, state in _SKIPPED.items() if words in printed), "done")


def last_words(model: str, printed: str) -> str:
    """The last thing that training said of itself: its progress, and at the end its result."""
    said = re.findall(rf"^(?:Training )?{model}: (.*)$", printed, re.MULTILINE)
    return said[-1] if said else ""


def reason(printed: str, status: int) -> str:
    """Why training failed, in one line: its own message, else the exception that a traceback ends with, else DVC's message."""
    lines = [line for line in printed.splitlines() if line.strip()]
    own = [line.removeprefix("error: ") for line in lines if line.startswith("error: ")]
    if own:
        return own[-1]
    if (title := "Traceback (most recent call last):") in lines:
        after = lines[len(lines) - lines[::-1].index(title) :]
        return next((line for line in after if not line.startswith(" ")), title)
    dvc = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return dvc[-1] if dvc else f"exit status {status}"


def _start(command: Sequence[str], output: int) -> subprocess.Popen[bytes]:
    """Start a program in a process group of its own, which Ctrl-C does not reach: who started it ends it."""
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=dvc_process.environment(),
        process_group=0,
        preexec_fn=partial(_in_child, os.getpid()),  # no threads are running here that it could upset
    )


def _in_child(parent: int) -> None:
    process_lifetime.end_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # a shell's background job ignores it, and so would what it starts


def _stop(processes: Collection[subprocess.Popen[bytes]]) -> None:
    """Interrupt programs and all that they started, wait a while, and kill what is left; at a second Ctrl-C, at once."""
    processes = [process for process in processes if process.poll() is None]
    _signal_all(processes, signal.SIGINT)
    deadline = time.monotonic() + _GRACE_SECONDS
    try:
        for process in processes:
            process.wait(max(0.0, deadline - time.monotonic()))
    except (subprocess.TimeoutExpired, KeyboardInterrupt):
        logger.info("killing what does not end")
    finally:
        _signal_all(processes, signal.SIGKILL)
        for process in processes:
            process.wait()


def _signal_all(processes: Collection[subprocess.Popen[bytes]], which: signal.Signals) -> None:
    for process in processes:
        try:
            os.killpg(process.pid, which)
        except (ProcessLookupError, PermissionError):  # it has ended, and its number may be somebody else's
            continue


@contextmanager
def _ending_by_interrupt() -> Iterator[None]:
    """Take the wish that this process ends, and the end of its terminal, for Ctrl-C."""

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


def _locked_stages() -> list[str]:
    """Names of the stages in dvc.lock, in its order."""
    return re.findall(r"^  (\S+):$", LOCK.read_text(encoding="utf-8"), re.MULTILINE) if LOCK.exists() else []


def _put_in_order(stages: Sequence[str]) -> None:
    """Let stages that are new in dvc.lock trade places, so that they stand in the order given.

    DVC appends a stage when it is done; those that were there before keep their places.
    """
    from dvc.repo import Repo  # type: ignore[import-untyped]  # here, since it takes a second

    if not LOCK.exists():
        return
    with Repo().lock:  # DVC reads the file, adds to it and writes it under the same lock
        _reorder(stages)


def _reorder(stages: Sequence[str]) -> None:
    # A stage is a line of two spaces and its name, and deeper lines.
    blocks = re.split(r"^(?=\S|  \S)", LOCK.read_text(encoding="utf-8"), flags=re.MULTILINE)
    names = [block.partition(":")[0].strip() for block in blocks]
    new = [stage for stage in stages if stage in names]
    if [name for name in names if name in new] == new:
        return
    ordered = (blocks[names.index(stage)] for stage in new)
    write_text(LOCK, "".join(next(ordered) if name in new else block for name, block in zip(names, blocks, strict=True)))
