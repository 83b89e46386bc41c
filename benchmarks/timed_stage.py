"""A stage, run as DVC runs it, with the times of its steps: a part of `benchmarks.gpu`.

    python -m benchmarks.timed_stage train gru

Prints one line of JSON: for each call of a step, its name and when it began and ended, in seconds since 1970.
"""

import functools
import gc
import json
import sys
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from actionrec.core import entry

STEPS = {
    "extract_frames": ("plan",),
    "resnet_features": ("_backbone", "plan", "_extractor"),
    "train": ("read_job", "measurements"),  # the second once per epoch, at its end
}

Span = tuple[str, float, float]


def main() -> None:
    name = sys.argv[1]
    spans: list[Span] = []
    gc.disable()  # as `stages` does if Python is told to run one
    stage = timed(import_module, "imports", spans)(f"stages.{name}")
    for step in STEPS[name]:
        setattr(stage, step, timed(getattr(stage, step), step, spans))
    del sys.argv[1]
    entry.run(stage.main)
    print(json.dumps(spans))


def timed(function: Callable[..., Any], name: str, spans: list[Span]) -> Callable[..., Any]:
    """A function that also notes its calls."""

    @functools.wraps(function)
    def noted(*arguments: Any) -> Any:
        begin = time.time()
        result = function(*arguments)
        spans.append((name, begin, time.time()))
        return result

    return noted


if __name__ == "__main__":
    main()
