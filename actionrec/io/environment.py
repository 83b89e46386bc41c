"""Environment variables of libraries, set before any library is loaded. Some of them change results."""

import os

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
    # These compute in bf16 or TF32 where a parameter says fp32.
    "ONEDNN_DEFAULT_FPMATH_MODE",
    "DNNL_DEFAULT_FPMATH_MODE",
    "NVIDIA_TF32_OVERRIDE",
    "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
)
"""Variables that would make results wrong. They are removed, for this process and those that it starts."""
for _name in IGNORED:
    os.environ.pop(_name, None)
