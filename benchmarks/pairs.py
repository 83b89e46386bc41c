"""Shared by the benchmarks: interleaved repeats, medians, a description of the machine, temporary projects to run stages in."""

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from actionrec.core import paths
from actionrec.features import tuned_backbone
from actionrec.io import machine

ROOT = Path(__file__).parents[1]

REPEATS = 5


def interleaved(ways: Mapping[str, Callable[[], Any]], repeats: int = REPEATS) -> dict[str, float]:
    """Median seconds of each way. All ways run once before any runs again, so that a slow minute affects all of them."""
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for run in ways.values():
        run()  # one-time work is not counted
    for _ in range(repeats):
        for name, run in ways.items():
            start = time.perf_counter()
            run()
            taken[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds) for name, seconds in taken.items()}


def describe_machine() -> str:
    """Processor or GPU, cores, bf16, and versions."""
    import torch

    device = machine.device()
    bf16 = "with bf16" if machine.has_bf16(device) else "without bf16"
    return f"{machine.device_name(device)}, {bf16}; torch {torch.__version__}, Python {platform.python_version()}"


@contextmanager
def project(**changes: Any) -> Iterator[Path]:
    """A project in a temporary folder: params.yaml, with `section__key=value` changed, and a backbone that is not tuned."""
    from ruamel.yaml import YAML  # here: a benchmark without a project works without it

    yaml = YAML()
    params = yaml.load(ROOT / "params.yaml")
    for path, value in changes.items():
        *sections, key = path.split("__")
        section = params
        for name in sections:
            section = section[name]
        section[key] = value
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        yaml.dump(params, folder / "params.yaml")
        tuned_backbone.write_untuned(folder / paths.BACKBONE)
        yield folder


class Finished:
    """A finished process: seconds, and peak memory including its children's, GiB."""

    def __init__(self, command: list[str], folder: Path, **environment: str) -> None:
        start = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, *command],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stderr=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
        )
        assert process.stderr is not None
        message = process.stderr.read().decode()
        _, status, used = os.wait4(process.pid, 0)
        if status:
            sys.exit(f"{' '.join(command)} failed:\n{message}")
        self.seconds = time.perf_counter() - start
        self.peak_gib = used.ru_maxrss / 2**20
        self.user_seconds = used.ru_utime


def stage(name: str, folder: Path, *arguments: str, **environment: str) -> Finished:
    """Run a stage's script in a project."""
    return Finished(["-m", f"stages.{name}", *arguments], folder, **environment)
