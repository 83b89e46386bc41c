"""Video action recognition, from a folder of class-named clips to an honest comparison of sequence models."""

import os

from actionrec.core import process_lifetime

process_lifetime.end_if_bound()  # first, so that a worker process whose parent is killed ends even while it imports libraries

# Libraries read these variables when they are imported, so they are set before any library is imported.

# FFmpeg prints a line to stderr for each damaged packet. VideoError reports the damage instead.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
os.environ.setdefault("OPENCV_LOG_LEVEL", "ERROR")
# Spin-waiting OpenMP threads slow training tenfold on a busy machine.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# The result of a matrix product depends on the number of threads. NumPy's default is the number of cores.
os.environ["OPENBLAS_NUM_THREADS"] = "1"

IGNORED = (
    # These give torch fewer threads than it expects. Parts of a bf16 product may then be missing.
    "OMP_THREAD_LIMIT",
    "OMP_DYNAMIC",
    "OMP_MAX_ACTIVE_LEVELS",
    "KMP_ALL_THREADS",
    "KMP_DEVICE_THREAD_LIMIT",
    # These make libraries compute in bf16 or TF32 although the parameters say fp32.
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "DNNL_DEFAULT_FPMATH_MODE",
    "NVIDIA_TF32_OVERRIDE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)
"""Variables that would make results wrong. They are removed from the environment of this process and its children."""
for _name in IGNORED:
    os.environ.pop(_name, None)
