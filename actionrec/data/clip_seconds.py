"""Lengths of the clips in seconds: data/clip_seconds.csv, which the stage `extract_frames` writes.

They are not in the frame store, so that they change no shard, and no features that were computed from it.
"""

import math
from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import median

from actionrec.core.errors import DataError
from actionrec.core.text import quoted
from actionrec.io.files import read_csv, write_csv

HEADER = ("clip", "seconds")


def write_clip_seconds(path: Path, seconds: Mapping[str, float]) -> None:
    """Write the length of each clip whose length is known."""
    write_csv(path, HEADER, [(clip, f"{length:.3f}") for clip, length in sorted(seconds.items())])


def read_clip_seconds(path: Path) -> dict[str, float]:
    """Read data/clip_seconds.csv: clip id -> length in seconds, of the clips whose length is known.

    Raises:
        DataError: the file is missing or damaged.
    """
    return {row["clip"]: _seconds(path, row) for row in read_csv(path, HEADER)}


def _seconds(path: Path, row: Mapping[str, str]) -> float:
    try:
        length = float(row["seconds"])
    except ValueError:
        length = math.nan
    if not 0 <= length < math.inf:
        raise DataError(
            f"{path}: seconds of {quoted(row['clip'])} must be a number from 0; got {quoted(row['seconds'])}. "
            "Run `dvc repro -f extract_frames`."
        )
    return length


def median_seconds(seconds: Mapping[str, float], clips: Iterable[str]) -> float | None:
    """The median length of some clips; None if that of none is known.

    >>> median_seconds({"a.avi": 2.0, "b.avi": 4.0, "c.avi": 3.0, "d.avi": 60.0}, ["a.avi", "b.avi", "c.avi", "unknown.avi"])
    3.0
    """
    known = [seconds[clip] for clip in clips if clip in seconds]
    return round(median(known), 3) if known else None
