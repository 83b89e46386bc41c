"""Log of a training's epochs, in the files of DVCLive. DVCLive writes them where DVC runs the stage, else this module does.

DVCLive also sends a run to DVC Studio. It loads DVC, which takes a second, and is not installed on a bare GPU machine.
"""

import json
import math
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LogEpoch = Callable[[int, Mapping[str, float]], None]
"""Logs one epoch: its number, from 1, and its metrics by names such as `train/loss`."""


@contextmanager
def epoch_log(folder: Path) -> Iterator[LogEpoch]:
    """Start a new log: `plots/metrics/<metric>.tsv` with a row per epoch, and the last epoch in `metrics.json`."""
    if "DVC_ROOT" not in os.environ:  # DVC sets it for the stages that it runs
        shutil.rmtree(folder, ignore_errors=True)
        yield lambda number, metrics: _write_epoch(folder, number, metrics)
        return
    from dvclive.live import Live

    with Live(str(folder), dvcyaml=None, save_dvc_exp=False, report=None) as live:

        def log_epoch(number: int, metrics: Mapping[str, float]) -> None:
            live.step = number
            for name, value in metrics.items():
                live.log_metric(name, value)
            live.make_summary()

        yield log_epoch


def _write_epoch(folder: Path, number: int, metrics: Mapping[str, float]) -> None:
    """Log one epoch as DVCLive does, byte for byte."""
    summary: dict[str, Any] = {}
    for name, value in metrics.items():
        table = folder / "plots" / "metrics" / f"{name}.tsv"
        table.parent.mkdir(parents=True, exist_ok=True)
        with table.open("a", encoding="utf-8") as stream:
            if not stream.tell():
                stream.write(f"step\t{table.name.removesuffix('.tsv')}\n")
            stream.write(f"{number}\t{value}\n")
        section = summary
        *sections, last = name.split("/")
        for part in sections:
            section = section.setdefault(part, {})
        section[last] = value if math.isfinite(value) else str(value)  # JSON has no such numbers
    (folder / "metrics.json").write_text(json.dumps(summary | {"step": number}, indent=4) + "\n", encoding="utf-8")
