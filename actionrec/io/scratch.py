"""Scratch arrays: in memory while they are small, beyond that in a temporary file that is mapped into memory.

The operating system writes the pages of a mapped file to disk when memory runs short, so a large array cannot exhaust memory.
"""

import math
import tempfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from actionrec.core import paths

IN_MEMORY = 1 << 30  # bytes; larger arrays go to a file


def scratch_array(shape: tuple[int, ...], folder: Path = paths.WORK, in_memory: int = IN_MEMORY) -> NDArray[np.float32]:
    """An array of float32 with arbitrary contents. Its file, if it has one, disappears with the array.

    Args:
        folder: where the temporary file goes; created if it is missing.
        in_memory: size in bytes up to which the array has no file.
    """
    if 4 * math.prod(shape) <= in_memory:
        return np.empty(shape, dtype=np.float32)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:  # it has no name; the mapping keeps it until the array is deleted
        return np.memmap(file, dtype=np.float32, mode="w+", shape=shape)
