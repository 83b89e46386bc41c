"""A shell for DVC that runs a stage's command on a machine of a Ray cluster.

DVC runs a stage as `$SHELL -c "python -m stages.train gru"`. With SHELL naming this program, everything else stays with DVC on the
driver's machine: its locks, its run cache, and dvc.lock.
"""

import argparse
import os
import shlex
import signal
import sys
from pathlib import Path

from actionrec.core import entry, paths
from actionrec.core.errors import ActionrecError
from actionrec.parallel.engines import ray_program

LOGS = paths.WORK / "train-all"
MODULE = "actionrec.pipeline.cluster_shell"


def write(path: Path, gpus: float) -> None:
    """Write the executable for SHELL.

    Args:
        gpus: GPUs for a command.
    """
    path.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m {MODULE} --gpus {gpus} "$@"\n', encoding="utf-8")
    path.chmod(0o755)


def main() -> None:
    parser = argparse.ArgumentParser(prog=f"python -m {MODULE}", description="Run a stage's command on a Ray cluster.")
    parser.add_argument("--gpus", type=float, required=True)
    parser.add_argument("-c", dest="command", required=True)
    options = parser.parse_args()
    program, *arguments = shlex.split(options.command)
    if program != "python":
        raise ActionrecError(f"dvc.yaml: a cluster runs only commands that start with `python`; got {options.command!r}")
    status = ray_program.run(_model(), arguments, LOGS, options.gpus)
    if status < 0:
        raise ActionrecError(f"{options.command} crashed ({signal.Signals(-status).name})")
    sys.exit(status)


def _model() -> str:
    """The model of the stage that DVC runs, such as `gru` of `train@gru`."""
    return os.environ["DVC_STAGE"].rpartition("@")[2]


if __name__ == "__main__":
    entry.run(main)
