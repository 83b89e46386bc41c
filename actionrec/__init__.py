"""Video action recognition, from a folder of class-named clips to an honest comparison of sequence models."""

import os
from importlib import import_module
from typing import Any

from actionrec.core import process_lifetime

process_lifetime.end_if_bound()  # first: a worker process whose parent was killed ends before it loads a library

# Libraries read these variables when they are loaded, so they are set here, before any library is.

# FFmpeg prints a line to stderr for each damaged packet. VideoError reports the damage instead.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
# Spin-waiting OpenMP threads slow training tenfold on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# The sums of a matrix product depend on the number of threads, and NumPy's default is the number of cores.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

IGNORED = (
    # These give torch fewer threads than it plans its work for: part of a bf16 product may then be missing.
    "OMP_THREAD_LIMIT",
    "OMP_DYNAMIC",
    "OMP_MAX_ACTIVE_LEVELS",
    "KMP_ALL_THREADS",
    "KMP_DEVICE_THREAD_LIMIT",
    # These compute in bf16 or TF32 where a parameter requires fp32.
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "DNNL_DEFAULT_FPMATH_MODE",
    "NVIDIA_TF32_OVERRIDE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)
"""Variables that would make results wrong. They are removed for this process and those that it starts."""
for _name in IGNORED:
    os.environ.pop(_name, None)

__all__ = ["Model", "SequenceModel", "__version__", "load", "train"]  # the public API; everything else is private


def __getattr__(name: str) -> Any:
    """Import the public API when it is used: `import actionrec` alone does not load torch."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("actionrec.version" if name == "__version__" else "actionrec.api"), name)
